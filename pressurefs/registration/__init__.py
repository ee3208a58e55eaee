"""A write(2) becomes a listener: what the line says, what is checked, which refusals are logged."""
