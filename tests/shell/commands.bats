#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The other commands, and what they say when they cannot.

load mounted

@test "vmpressure reads as the levels that one may ask for" {
    [ "$(cat "$MOUNT/vmpressure")" = 'low medium oom' ]
}

@test "wait ends at the first event" {
    pressurefs wait medium --timeout 20 &
    waiter=$!
    until [ -n "$(cat "$MOUNT/vmpressure.debug/registrations")" ]; do :; done
    pressurefs inject "$MOUNT" oom
    wait "$waiter"
}

@test "wait and eventfd read end with 124 when nothing comes in time" {
    run pressurefs wait low --timeout 0.1
    [ "$status" -eq 124 ]
    run pressurefs eventfd new 5 -- pressurefs eventfd read 5 --timeout 0.1
    [ "$status" -eq 124 ]
    [ -z "$output" ]
}

@test "inject takes scanned, reclaimed and priority" {
    pressurefs inject "$MOUNT" 600 300
    pressurefs inject "$MOUNT" 0 0 4
    pressurefs inject "$MOUNT" low /some/cgroup
    run awk '{ $1 = ""; print }' "$MOUNT/vmpressure.debug/history"
    [ "${lines[1]}" = ' / 600 300 - 50 low' ]
    [ "${lines[2]}" = ' / 512 0 4 100 oom' ]
    [ "${lines[3]}" = ' /some/cgroup 0 0 - - low' ]
}

@test "inject shows the error of a wrong word" {
    run pressurefs inject "$MOUNT" high
    [ "$status" -eq 1 ]
    [ "$output" = "pressurefs: $MOUNT/vmpressure.debug/inject: Invalid argument" ]
    run pressurefs inject "$MOUNT" low /no/cgroup
    [ "$output" = "pressurefs: $MOUNT/vmpressure.debug/inject: No such file or directory" ]
}

@test "wait fails when the mount ends" {
    pressurefs wait oom 2>"$WORK/said" 3>&- &
    until [ "$(wc -l <"$MOUNT/vmpressure.debug/registrations")" -eq 1 ]; do sleep 0.1; done
    pressurefs umount "$MOUNT"
    code=0
    wait $! || code=$?
    [ "$code" -eq 7 ]
    [ "$(cat "$WORK/said")" = "pressurefs: $MOUNT: was unmounted" ]
}

@test "record writes a trace, without a mount, for as long as it is told" {
    run pressurefs record --source vmstat --proc "$WORK/still" --seconds 0.5 "$WORK/trace"
    [ "$status" -eq 0 ]
    [[ $(head -n 1 "$WORK/trace") == '{"format": "pressurefs-trace", "version": 1, '*'"source": "vmstat"}' ]]
    replayed=pressurefs/share/traces/stream-then-thrash.jsonl
    run pressurefs record --source "replay:$replayed,speed=1000" "$WORK/trace"
    [ "$status" -eq 0 ]
    [ "$(wc -l <"$WORK/trace")" -eq "$(wc -l <"$replayed")" ]
    run pressurefs record --source nonsense "$WORK/trace"
    [ "$status" -eq 5 ]
    run pressurefs record /dev/full
    [ "$output" = 'pressurefs: /dev/full: No space left on device' ]
}

@test "what asks a dead mount says so in a line" {
    kill -9 "$DAEMON"
    wait "$DAEMON" || true
    for command in "status $MOUNT" "inject $MOUNT low"; do
        run pressurefs $command
        [ "$status" -eq 1 ]
        [[ $output == 'pressurefs: '*': Transport endpoint is not connected' ]]
    done
    umount -l "$MOUNT"
    rm "$WORK/ready"
    mount_pressurefs --debug
}

@test "status tells of the mount and of the machine" {
    run pressurefs status "$MOUNT"
    [ "$status" -eq 0 ]
    [[ $output =~ source\ +vmstat ]]
    [[ $output =~ fuse\ +m?fusepy,\ libfuse ]]
    [[ $output =~ io_uring\ +yes ]]
    pressurefs exec --fd 5=low -- pressurefs status --json |
        python3 -c 'import json, sys; told = json.load(sys.stdin); sys.exit(
            (told["source"], told["signaller"], told["registrations"], told["machine"]["fuse"])
            != ("vmstat", "io_uring", 1, "yes"))'
    run pressurefs status /
    [ "$status" -eq 7 ]
    run pressurefs doctor
    [[ $output =~ fuse\ +yes ]]
    [[ $output =~ fuse\ by\ m?fusepy\ +yes,\ libfuse\ [23][.0-9]+,\ used ]]
    PRESSUREFS_FUSE=nothing run pressurefs doctor
    [[ $output =~ fuse\ +no:\ .PRESSUREFS_FUSE\ is ]]
}

@test "umount unmounts, and the daemon ends with 0" {
    pressurefs umount "$MOUNT"
    wait "$DAEMON"
    [ -z "$(ls -A "$MOUNT")" ]
    run pressurefs umount "$MOUNT"
    [ "$status" -eq 7 ]
    [ "$output" = "pressurefs: $MOUNT: not a pressurefs mount" ]
}

@test "umount of a busy mount says so and leaves it" {
    exec 8<"$MOUNT/vmpressure"
    run pressurefs umount "$MOUNT"
    [ "$status" -eq 1 ]
    [ "$output" = "pressurefs: $MOUNT: Device or resource busy" ]
    exec 8<&-
    [ -e "$MOUNT/vmpressure" ]
}

@test "the mount is found without being named" {
    unset PRESSUREFS_MOUNT
    # In a mount namespace of its own, where no other pressurefs comes first.
    run unshare --mount sh -c "
        awk '/ - fuse.pressurefs / { print \$5 }' /proc/self/mountinfo | grep -vxF '$MOUNT' | xargs -r umount -l
        pressurefs exec --fd 5=low -- cat $MOUNT/vmpressure.debug/registrations"
    [[ $output == '/ low local 0 '* ]]
}

@test "what is no mount is exit code 7" {
    PRESSUREFS_MOUNT=/ run pressurefs wait low
    [ "$status" -eq 7 ]
    [ "$output" = 'pressurefs: /: not a pressurefs mount' ]
    run pressurefs inject / low
    [ "$status" -eq 7 ]
}

@test "the version is the installed package's" {
    run pressurefs --version
    [ "$status" -eq 0 ]
    [ "$output" = "pressurefs $(sed -n 's/^version = "\(.*\)"$/\1/p' "$BATS_TEST_DIRNAME/../../pyproject.toml")" ]
}

@test "wrong arguments are exit code 2" {
    for words in 'exec --fd 5 -- true' 'exec --fd 1=low -- true' 'exec --fd 5=low --fd 5=oom -- true' \
        'eventfd new 5' 'eventfd new -- true' 'eventfd read 99' 'eventfd read 0' 'wait' 'inject'; do
        # shellcheck disable=SC2086
        run pressurefs $words
        [ "$status" -eq 2 ] || { echo "$words: $status" && false; }
    done
}

@test "an unknown level is the file's own error" {
    run pressurefs exec --fd 5=high -- true
    [ "$status" -eq 1 ]
    [ "$output" = "pressurefs: register 'high' in $MOUNT/vmpressure: Invalid argument" ]
    run pressurefs wait low --cgroup /nowhere
    [ "$output" = "pressurefs: register 'low' in $MOUNT/nowhere/vmpressure: No such file or directory" ]
}

@test "the example listener hears, and ends with the mount" {
    pressurefs eventfd new 5 6 7 -- sh "$BATS_TEST_DIRNAME/../../pressurefs/share/examples/listen.sh" "$MOUNT" \
        >"$WORK/heard" 3>&- &
    listener=$!
    until [ "$(wc -l <"$MOUNT/vmpressure.debug/registrations")" -eq 3 ]; do :; done
    pressurefs inject "$MOUNT" medium
    until grep -q 'medium r' "$WORK/heard" && grep -q 'low  ' "$WORK/heard"; do :; done
    kill "$DAEMON"
    wait "$listener"
    grep -q 'low .*signalled 1 times' "$WORK/heard"
    ! grep -q 'oom .*signalled' "$WORK/heard"
}
