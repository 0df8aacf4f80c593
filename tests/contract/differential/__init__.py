"""A vendor's own package and our adapter send the same message to the same server: what they ask must agree."""
