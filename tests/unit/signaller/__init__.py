# SPDX-License-Identifier: MIT
"""One application's eventfd, from the writer that names it to its last close."""
