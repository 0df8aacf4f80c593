"""SMS providers: HTTP APIs that take a form for each number, or one text for many."""
