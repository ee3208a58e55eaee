"""The cgroup tree that the mount mirrors, and how a cgroup is named."""
