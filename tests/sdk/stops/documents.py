"""A document in a collection, with the SDKs that create a collection and its attributes in one call."""

from tests.sdk.sdk import UNIQUE
from tests.sdk.tour import Tour


def visit(tour: Tour) -> None:
    if not tour.sdk.takes("databases", "createCollection", "attributes"):
        return
    databases = tour.owner.databases
    databases("create", databaseId="main", name="Main")
    title = {"key": "title", "type": "string", "size": 100, "required": True}
    collection = databases(
        "createCollection", databaseId="main", collectionId="notes", name="Notes", attributes=[title]
    )
    assert (collection["databaseId"], collection["attributes"][0]["key"]) == ("main", "title")
    document = databases(
        "createDocument", databaseId="main", collectionId="notes", documentId=UNIQUE, data={"title": "Hello"}
    )
    assert document["$collectionId"] == "notes"
