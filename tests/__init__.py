"""Tests, by lane: unit, mount, shell, machine."""
