"""/v1/databases (contract §17): creating documents, and what a document needs to be created in."""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from api.kernel import Call, Routes
from api.limits import RateLimit
from api.paths import CollectionId, DatabaseId
from api.permissions import permissions_to_give
from api.principals import KeyHolder
from api.refusals import created, found
from api.schemas.databases import (
    CollectionCreate,
    CollectionModel,
    DatabaseCreate,
    DatabaseModel,
    DocumentCreate,
    DocumentModel,
)
from api.structure import structured
from shared.aside import aside
from shared.db.models import Collection, Document, DocumentDatabase
from shared.db.queries import documents
from shared.errors import RejectedRequest

routes = Routes("databases")


@routes.post("/v1/databases", scope="databases.write", answers=DatabaseModel, refusals=["database_already_exists"])
async def create_database(call: Call, body: DatabaseCreate) -> DatabaseModel:
    async with call.services.sessions.begin() as session:
        database = await documents.create(
            session,
            DocumentDatabase,
            project_seq=call.project.seq,
            id=body.database_id,
            name=body.name,
            enabled=body.enabled,
        )
    return DatabaseModel.of(created(database, "database_already_exists"))


async def _find_database(call: Call, session: AsyncSession, database_id: str) -> DocumentDatabase:
    """A disabled one exists for keys only."""
    database = await documents.find_database(session, call.project.seq, database_id)
    is_hidden = database is not None and not database.enabled and not isinstance(call.principal, KeyHolder)
    return found(None if is_hidden else database, "database_not_found")


async def _find_collection(call: Call, session: AsyncSession, database_id: str, collection_id: str) -> Collection:
    database = await _find_database(call, session, database_id)
    collection = await documents.find_collection(session, database.seq, collection_id)
    is_hidden = collection is not None and not collection.enabled and not isinstance(call.principal, KeyHolder)
    return found(None if is_hidden else collection, "collection_not_found")


@routes.post(
    "/v1/databases/{databaseId}/collections",
    scope="collections.write",
    answers=CollectionModel,
    refusals=["database_not_found", "collection_already_exists"],
)
async def create_collection(call: Call, database_id: DatabaseId, body: CollectionCreate) -> CollectionModel:
    async with call.services.sessions.begin() as session:
        database = await _find_database(call, session, database_id)
        collection = await documents.create(
            session,
            Collection,
            database_seq=database.seq,
            id=body.collection_id,
            name=body.name,
            enabled=body.enabled,
            permissions=body.permissions,
            document_security=body.document_security,
            attributes=[attribute.model_dump() for attribute in body.attributes],
        )
    return CollectionModel.of(created(collection, "collection_already_exists"), database_id)


@routes.post(
    "/v1/databases/{databaseId}/collections/{collectionId}/documents",
    scope="documents.write",
    answers=DocumentModel,
    refusals=[
        "database_not_found",
        "collection_not_found",
        "user_unauthorized",
        "document_missing_data",
        "document_invalid_structure",
        "document_already_exists",
    ],
    limit=RateLimit(120, 60, by=("network", "user")),
)
async def create_document(
    call: Call, database_id: DatabaseId, collection_id: CollectionId, body: DocumentCreate
) -> DocumentModel:
    async with call.services.sessions() as session:
        collection = await _find_collection(call, session, database_id, collection_id)
    if not call.may("create", collection.permissions):
        raise RejectedRequest("user_unauthorized", "The collection does not let the caller create documents.")
    permissions = permissions_to_give(call, body.permissions)
    data = await aside(structured, body.data, collection.attributes)
    try:
        async with call.services.sessions.begin() as session:
            document = await documents.create(
                session,
                Document,
                collection_seq=collection.seq,
                id=body.document_id,
                permissions=permissions,
                data=data,
            )
    except IntegrityError as error:  # deleted since it was looked at
        raise RejectedRequest("collection_not_found", "There is no collection of this id.") from error
    return DocumentModel.of(created(document, "document_already_exists"), collection_id, database_id)
