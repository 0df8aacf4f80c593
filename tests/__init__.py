"""Everything that shows Tidings working."""
