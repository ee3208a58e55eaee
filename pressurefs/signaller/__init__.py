# SPDX-License-Identifier: MIT
"""An application's eventfd, from the moment it is taken to its last close."""
