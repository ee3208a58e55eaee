"""The unit lane."""
