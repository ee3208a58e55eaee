# SPDX-License-Identifier: MIT
"""Where samples come from."""
