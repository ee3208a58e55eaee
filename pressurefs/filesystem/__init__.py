# SPDX-License-Identifier: MIT
"""What is mounted, and how FUSE asks for it."""
