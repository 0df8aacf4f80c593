"""One small adapter per provider behind one contract; everything they share is beside them."""
