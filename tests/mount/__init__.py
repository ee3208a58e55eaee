# SPDX-License-Identifier: MIT
"""The mount lane."""
