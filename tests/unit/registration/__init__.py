# SPDX-License-Identifier: MIT
"""A write(2) becomes a registration, or is refused."""
