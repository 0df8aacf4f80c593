"""A row for each provider at two latencies: what Tidings delivers, beside the best client libraries of its kind."""
