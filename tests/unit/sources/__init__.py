# SPDX-License-Identifier: MIT
"""Where samples come from, when they are read, and how they are recorded."""
