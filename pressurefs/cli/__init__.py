"""The command: one file a group of commands, its parser beside its body."""
