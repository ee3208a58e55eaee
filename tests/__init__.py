# SPDX-License-Identifier: MIT
"""Tests, by lane: unit, mount, shell, machine."""
