"""Contact files: reading them, checking each row, and deciding what a page of rows creates. Pure, no I/O."""
