"""Words from outside as a text column takes them."""

MAX_CHARACTERS = 500


def storable(text: str, *, limit: int | None = MAX_CHARACTERS) -> str:
    """Without NUL and halves of surrogate pairs, which JSON can spell and Postgres refuses; cut at the limit."""
    return text.replace("\x00", "").encode(errors="replace").decode()[:limit]
