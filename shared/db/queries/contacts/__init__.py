"""Contact imports in Postgres: stage a file's rows, then merge them page by page, each with its cursor."""
