# SPDX-License-Identifier: MIT
"""A write(2) becomes a listener: the grammar of its line, the checks, the log of refusals."""
