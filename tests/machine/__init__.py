# SPDX-License-Identifier: MIT
"""The machine lane: what only a whole machine can be tried on. scripts/machine boots one."""
