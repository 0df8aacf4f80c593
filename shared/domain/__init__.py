"""The words and rules of delivery: pure Python, no I/O."""
