"""Queue names and rings: how a process tells another that there may be work, never what the work is."""
