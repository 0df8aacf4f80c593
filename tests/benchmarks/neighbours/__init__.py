"""Whether anybody's trouble is felt by neighbours: the table of issue 9, row by row."""
