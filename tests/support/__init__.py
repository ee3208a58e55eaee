# SPDX-License-Identifier: MIT
"""What tests use and is no test: mounts, processes, fake kernel files."""
