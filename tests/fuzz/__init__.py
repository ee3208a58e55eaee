# SPDX-License-Identifier: MIT
"""The fuzz lane: a million writes that nobody would make, and a model that knows each answer."""
