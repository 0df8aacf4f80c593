"""Schemathesis against the running API: requests that follow its description, and requests that break it."""
