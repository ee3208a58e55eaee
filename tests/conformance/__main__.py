# SPDX-License-Identifier: MIT
"""Ask a kernel that has the two files: ``python -m tests.conformance DIR``, an empty cgroup of cgroup v1."""

import sys

from tests.conformance.acting import Actor
from tests.conformance.table import bytes_of, read_rows

if len(sys.argv) != 2:
    sys.exit(__doc__)
actor = Actor(sys.argv[1], sys.argv[1])
rows = read_rows()
agree = 0
for row in rows:
    answer = actor.perform(row.case, bytes_of(row.written))
    agree += answer == row.result
    if answer != row.result:
        print(f"{row.case}: {answer}, and in the table {row.result}")
print(f"{len(rows)} rows ran, {agree} agree")
sys.exit(agree != len(rows))
