# SPDX-License-Identifier: MIT
"""The cgroup tree that the mount mirrors, and the paths that name cgroups."""
