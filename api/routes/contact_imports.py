"""/v1/tidings/imports: contact files, which Appwrite's API does not take."""

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

from fastapi import Query

from api.declarations import Upload
from api.kernel import Call, Routes
from api.paths import ImportId
from api.refusals import found
from api.schemas.contact_imports import FaultPage, FaultParameters, ImportModel, ImportParameters
from shared.db.queries.contacts.run import ContactFile, import_contacts, read_faults
from shared.db.queries.contacts.stage import StoredImport, find_import
from shared.db.session import hot_transaction
from shared.domain.contacts.progress import ImportProgress
from shared.errors import RejectedRequest

MAX_FILE_BYTES = 1024**3

# one file does what several calls do, so it takes all of their scopes
NEEDED_SCOPES = frozenset({"users.write", "topics.write", "subscribers.write"})

routes = Routes("imports")


@routes.post(
    "/v1/tidings/imports",
    scope="users.write",
    answers=ImportModel,
    refusals=["general_argument_invalid", "general_body_too_large"],
    upload=Upload("text/csv", MAX_FILE_BYTES),
    takes_long=True,
)
async def import_contact_file(call: Call, wanted: Annotated[ImportParameters, Query()]) -> ImportModel:
    """Create users, targets, topics and subscriptions from a CSV file; answered when all of it is merged.

    What exists is kept, so a file may be sent again: broken off, it goes on where it stopped. Meanwhile its progress
    can be read under its id.
    """
    _require_scopes(call)
    layout = wanted.layout()
    # on disk, so that memory is a page of rows whatever is sent, and the content is known before it is merged
    with NamedTemporaryFile(prefix="tidings-import-") as received:
        async for piece in call.stream():
            received.write(piece)
        received.flush()
        file = ContactFile(Path(received.name), wanted.file_name, layout, creates_topics=wanted.create_topics)
        return ImportModel.of(await import_contacts(call.services.engine, call.project, file, report=_nobody_watches))


@routes.get(
    "/v1/tidings/imports/{importId}",
    scope=("users.read", "users.write"),
    answers=ImportModel,
    refusals=["import_not_found"],
)
async def get_import(call: Call, import_id: ImportId) -> ImportModel:
    """How far an import is."""
    return ImportModel.of(await _find(call, import_id))


@routes.get(
    "/v1/tidings/imports/{importId}/faults",
    scope=("users.read", "users.write"),
    answers=FaultPage,
    refusals=["import_not_found"],
)
async def list_import_faults(call: Call, import_id: ImportId, wanted: Annotated[FaultParameters, Query()]) -> FaultPage:
    """Rows that were left out, and why, in pages."""
    stored = await _find(call, import_id)
    return FaultPage.of(await read_faults(call.services.engine, stored.seq, after_line=wanted.after_line))


async def _find(call: Call, import_id: str) -> StoredImport:
    async with hot_transaction(call.services.engine) as connection:
        return found(await find_import(connection, call.project.seq, import_id), "import_not_found")


def _require_scopes(call: Call) -> None:
    missing = NEEDED_SCOPES - call.principal.scopes
    if missing:
        raise RejectedRequest(
            "general_unauthorized_scope", f"The caller has not the scope {', '.join(sorted(missing))}."
        )


def _nobody_watches(_progress: ImportProgress, _read_bytes: int) -> None:
    """Progress is in the import's row, for whoever asks."""
