# SPDX-License-Identifier: MIT
"""The unit lane."""
