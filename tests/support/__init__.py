# SPDX-License-Identifier: MIT
"""What tests share and what is no test: mounts, processes, users, fake files of the kernel."""
