# SPDX-License-Identifier: MIT
"""What the budgets speak of, measured.

One module for each question:

    start           from exec to a mount that answers
    registration    one, and a refusal, beside file systems that do nothing
    fanout          many eventfds signalled, beside write(2) on each
    latency         from a full window to an application that is awake
    removal         from a removed cgroup to a listener that is told
    idle            a daemon that has nothing to do, far from the watermarks and near them
    memory          what is resident, and descriptors
    vmstat          a look at /proc/vmstat

and what they share: table (rows and verdicts), serving (file systems that run for a while), processes
(what /proc says of them, and where they run), programs (our C, compiled), awakening (who wakes whom, and
when).  replaying.py, empty.py, empty.c and bare.c are programs and libraries of their own.

Everything is a median of many, on real mounts; where a budget is a ratio, both sides are measured in turns
in the same run.

Clients and file systems share one processor, if nothing else is said.  A file operation wakes the server
and then the client; on a virtual machine a wake-up across processors takes 50 us and more, so that where
the scheduler happens to put the two decides the figures, four-fold, and nothing of ours does.
"""
