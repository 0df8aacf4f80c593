"""The parts of providers, one by one."""
