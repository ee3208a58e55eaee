# SPDX-License-Identifier: MIT
"""The process: what it reports to systemd."""
