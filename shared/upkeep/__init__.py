"""What keeps messages moving that nobody has in hand: schedulers do it, and workers where no scheduler lives."""
