"""How Tidings is run: embedded engines, images, compose, decision records."""
