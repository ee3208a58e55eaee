#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Registering, as a user would type it.

bats_require_minimum_version 1.5.0
load mounted

@test "exec gives a command an eventfd that is registered" {
    run pressurefs exec --fd 5=low -- sh -c "
        pressurefs inject $MOUNT low
        pressurefs eventfd read 5 --timeout 5"
    [ "$status" -eq 0 ]
    [ "$output" = 1 ]
}

@test "exec gives several, each at its level" {
    run pressurefs exec --fd 5=low --fd 6=medium --fd 7=oom -- sh -c "
        pressurefs inject $MOUNT medium
        for fd in 5 6 7; do pressurefs eventfd read \$fd --timeout 0.2 || echo none; done"
    [ "${lines[*]}" = '1 1 none' ]
}

@test "exec passes the command's exit code on" {
    run pressurefs exec --fd 5=low -- sh -c 'exit 42'
    [ "$status" -eq 42 ]
    run -127 pressurefs exec --fd 5=low -- no-such-command
    [ "$output" = 'pressurefs: no-such-command: command not found' ]
}

@test "/bin/echo registers a descriptor that its shell holds" {
    run pressurefs eventfd new 5 -- sh -c "
        /bin/echo '5 low' > $MOUNT/vmpressure && pressurefs inject $MOUNT low && pressurefs eventfd read 5"
    [ "$status" -eq 0 ]
    [ "$output" = 1 ]
}

@test "the shell's own echo registers, and a redirection that stays open" {
    run pressurefs eventfd new 5 6 -- bash -c "
        exec 4> $MOUNT/vmpressure
        echo '5 low' >&4
        echo '6 low,local' >&4
        pressurefs inject $MOUNT oom
        pressurefs eventfd read 5 && pressurefs eventfd read 6"
    [ "${lines[*]}" = '1 1' ]
}

@test "printf | tee registers" {
    run pressurefs eventfd new 5 -- sh -c "
        printf '5 low' | tee $MOUNT/vmpressure && pressurefs inject $MOUNT low && pressurefs eventfd read 5"
    [ "$status" -eq 0 ]
    [ "$output" = '5 low1' ]
}

@test "cat and dd register" {
    echo '5 low' >"$WORK/line"
    run pressurefs eventfd new 5 -- sh -c "
        cat $WORK/line > $MOUNT/vmpressure
        dd if=$WORK/line of=$MOUNT/vmpressure status=none
        pressurefs inject $MOUNT low
        pressurefs eventfd read 5"
    [ "$output" = 2 ]
}

@test "the sketch's form with both descriptors registers" {
    run pressurefs eventfd new 5 -- sh -c "
        exec 6< $MOUNT/vmpressure
        echo '5 6 low' > $MOUNT/vmpressure && pressurefs inject $MOUNT low && pressurefs eventfd read 5"
    [ "$output" = 1 ]
}

@test "a wrong line shows its error" {
    run pressurefs eventfd new 5 -- /bin/sh -c "/bin/echo '5 high' > $MOUNT/vmpressure"
    [ "$status" -eq 1 ]
    [[ $output == *'write error: Invalid argument' ]]
    run bash -c "echo '77 low' > $MOUNT/vmpressure"
    [[ $output == *'write error: Bad file descriptor' ]]
    run bash -c "echo '1 low' > $MOUNT/vmpressure"
    [[ $output == *'write error: Invalid argument' ]]
    refusal='refused uid 0: EINVAL: the level is not one of low, medium, oom, critical'
    timeout 60 sh -c "until grep -qF '$refusal' '$WORK/stderr'; do sleep 0.1; done"
}

@test "what is too long is too long as a whole" {
    run bash -c "head -c 5000 /dev/zero | tr '\0' ' ' | dd of=$MOUNT/vmpressure bs=5000 iflag=fullblock status=none"
    [ "$status" -ne 0 ]
    [[ $output == *'Argument list too long' ]]
}
