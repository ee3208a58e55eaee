"""The mount lane."""
