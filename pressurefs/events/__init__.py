# SPDX-License-Identifier: MIT
"""From a judged window to the listeners that hear of it; and the books of who listens."""
