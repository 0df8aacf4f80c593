"""The HTTP side: accepts, answers, never sends."""
