"""The process: what it starts and stops, its log, its place in the machine."""
