"""What two or more processes need: words, tables, providers, queues, and the command line."""
