# SPDX-License-Identifier: MIT
# Mounting for the shell lane: a mount for each test, and the promises that it is held to.

setup() {
    WORK=$(mktemp -d)
    chmod 755 "$WORK"
    MOUNT=$WORK/cgroup
    mkdir "$MOUNT"
    export PRESSUREFS_MOUNT=$MOUNT
    mkdir -p "$WORK/tree/some/cgroup" "$WORK/still"
    # This machine as it is, and as it stays: nothing happens that a test does not do.
    cp /proc/{vmstat,zoneinfo,meminfo} "$WORK/still"
    mount_pressurefs --debug --cgroup "$WORK/tree" --proc "$WORK/still"
}

teardown() {
    kill "$DAEMON" 2>/dev/null || true
    wait "$DAEMON" || { echo "the daemon ended with $?" && return 1; }
    ! grep -Ei 'traceback|exception|\bfault\b|warning:' "$WORK/stderr" || return 1
    ! grep -F " $MOUNT " /proc/self/mountinfo || return 1
    rm -rf --one-file-system "$WORK"
}

# Starts the daemon and waits until the mount answers.  bats keeps descriptor 3 for itself: the daemon must
# not inherit it, or bats would wait for the daemon.
mount_pressurefs() {
    mkfifo "$WORK/ready"
    pressurefs mount "$@" --ready-fd 9 "$MOUNT" 9<>"$WORK/ready" 2>"$WORK/stderr" 3>&- &
    DAEMON=$!
    read -r -t 20 <"$WORK/ready"
}
