"""Measures Tidings beside the usual ways of doing its work, in one session: `make bench`."""
