"""Wire servers that know a protocol and nothing of any provider."""
