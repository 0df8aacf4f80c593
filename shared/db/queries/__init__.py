"""One file per stage, one function per question."""
