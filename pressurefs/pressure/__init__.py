# SPDX-License-Identifier: MIT
"""The arithmetic of pressure, pure: pages scanned and reclaimed in, a level out.  The oracle for the C's."""
