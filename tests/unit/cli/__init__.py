# SPDX-License-Identifier: MIT
"""What the command prints and draws."""
