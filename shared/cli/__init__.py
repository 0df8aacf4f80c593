"""The command line: starts the roles as processes and talks to a running installation. Nobody imports it."""
