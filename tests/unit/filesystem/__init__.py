# SPDX-License-Identifier: MIT
"""What is mounted, and the package that reaches libfuse."""
