"""Time: moves rows that are due, straight against Postgres."""
