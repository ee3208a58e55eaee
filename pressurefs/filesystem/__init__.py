# SPDX-License-Identifier: MIT
"""The files and directories of the mount, and the FUSE operations on them."""
