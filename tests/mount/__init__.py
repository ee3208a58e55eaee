# SPDX-License-Identifier: MIT
"""The mount lane: real mounts, real processes, real eventfds."""
