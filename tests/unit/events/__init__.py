# SPDX-License-Identifier: MIT
"""From a sample to the listeners that are signalled."""
