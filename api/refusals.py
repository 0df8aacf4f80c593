"""The refusals that several routes share, in our words; types are the contract's."""

from typing import TypeVar

from shared.errors import RejectedRequest

Thing = TypeVar("Thing")

_NAMES = {
    "import_not_found": "import",
    "message_not_found": "message",
    "provider_not_found": "provider",
    "topic_not_found": "topic",
    "subscriber_not_found": "subscriber",
    "user_not_found": "user",
    "user_target_not_found": "target",
    "user_session_not_found": "session",
    "storage_bucket_not_found": "bucket",
    "storage_file_not_found": "file",
    "database_not_found": "database",
    "collection_not_found": "collection",
}


def found(thing: Thing | None, missing: str) -> Thing:
    """The thing, or the refusal of type `missing` where there is none of that id in the project."""
    if not thing:
        raise RejectedRequest(missing, f"There is no {_NAMES[missing]} of this id.")
    return thing


def created(thing: Thing | None, taken: str) -> Thing:
    """The new thing, or the refusal of type `taken` where it exists already."""
    if thing is None:
        raise RejectedRequest(taken, "There is one already.")
    return thing
