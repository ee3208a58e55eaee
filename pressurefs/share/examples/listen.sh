#!/bin/sh
# Registers at all three levels by writing into vmpressure, and tells of each event.
#
# Usage: pressurefs eventfd new 5 6 7 -- listen.sh MOUNT
#
# An eventfd is no stranger than a file: the shell inherits three, and the numbers in the lines that it
# writes are its own descriptors.  It ends when the mount goes: that wakes everybody once, and by then the
# path is gone.

vmpressure=$1/vmpressure

echo "5 low" >"$vmpressure" || exit
echo "6 medium" >"$vmpressure" || exit
echo "7 oom" >"$vmpressure" || exit
echo "registered: 5 low, 6 medium, 7 oom"

listen() {
    while count=$(pressurefs eventfd read "$1") && [ -e "$vmpressure" ]; do
        # The count says how often it was signalled since the last look, and nothing else.
        echo "$(date +%T.%2N)  $2 (signalled $count times)"
    done
    echo "$(date +%T.%2N)  descriptor $1: signalled once more, and the mount is gone"
}

listen 5 "low    memory is being reclaimed: drop what is cheap to make again" &
listen 6 "medium reclaim finds little: drop caches" &
listen 7 "oom    reclaim finds nothing: let go of all that you can" &
wait
