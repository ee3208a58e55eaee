# SPDX-License-Identifier: MIT
"""The process: start and stop, its log, its mountpoint, how it survives memory pressure."""
