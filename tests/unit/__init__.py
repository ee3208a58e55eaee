# SPDX-License-Identifier: MIT
"""The unit lane: the modules of the package without a mount, in the folders of the package."""
