# SPDX-License-Identifier: MIT
"""The command: one file for each group of commands, with the parser of a command beside its body."""
