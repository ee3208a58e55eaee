# SPDX-License-Identifier: MIT
"""From a sample to the listeners that hear of it."""
