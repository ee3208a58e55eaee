# SPDX-License-Identifier: MIT
"""What a kernel's cgroup.event_control and memory.pressure_level answered, and how to ask again."""
