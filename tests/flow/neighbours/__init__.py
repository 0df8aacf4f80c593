"""One account's trouble beside other people's messages."""
