# SPDX-License-Identifier: MIT
"""The arithmetic of pressure: levels, windows, tunables."""
