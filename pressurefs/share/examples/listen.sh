#!/bin/sh
# SPDX-License-Identifier: MIT
# Registers at all three levels by writing into vmpressure, and prints a line for each event.
#
# Usage: pressurefs eventfd new 5 6 7 -- listen.sh MOUNT
#
# The shell inherits three eventfds; the numbers in the lines that it writes are its own descriptors.  It ends
# when the file system is unmounted: that signals each eventfd once, and the path is gone by then.

vmpressure=$1/vmpressure

echo "5 low" >"$vmpressure" || exit
echo "6 medium" >"$vmpressure" || exit
echo "7 oom" >"$vmpressure" || exit
echo "registered: 5 low, 6 medium, 7 oom"

listen() {
    while count=$(pressurefs eventfd read "$1") && [ -e "$vmpressure" ]; do
        # The count is the number of signals since the last read, and means nothing else.
        echo "$(date +%T.%2N)  $2 (signalled $count times)"
    done
    echo "$(date +%T.%2N)  descriptor $1: signalled once more, and the mount is gone"
}

listen 5 "low    memory is being reclaimed: drop what is cheap to make again" &
listen 6 "medium reclaim finds little: drop caches" &
listen 7 "oom    reclaim finds nothing: free all that you can" &
wait
