"""/v1/tidings/messages/{messageId}: how far a message is, which Appwrite's API does not tell."""

from typing import Annotated

from fastapi import Query

from api.kernel import Call, Routes
from api.paths import MessageId
from api.refusals import found
from api.schemas.progress import ProgressModel, RecipientModel, RecipientPage, RecipientParameters
from shared.db.queries.progress import find_run, list_recipients, read_progress
from shared.db.session import hot_statements

routes = Routes("progress")


@routes.get(
    "/v1/tidings/messages/{messageId}/progress",
    scope="messages.read",
    answers=ProgressModel,
    refusals=["message_not_found"],
)
async def get_progress(call: Call, message_id: MessageId) -> ProgressModel:
    """Counts by state, exact at the moment of the answer, whatever is under way."""
    async with hot_statements(call.services.engine) as connection:
        progress = await read_progress(connection, call.project.seq, message_id)
    return ProgressModel.of(found(progress, "message_not_found"))


@routes.get(
    "/v1/tidings/messages/{messageId}/recipients",
    scope="messages.read",
    answers=RecipientPage,
    refusals=["message_not_found"],
)
async def get_recipients(
    call: Call, message_id: MessageId, wanted: Annotated[RecipientParameters, Query()]
) -> RecipientPage:
    """Who the message was planned for and what became of each, in pages."""
    after = int(wanted.cursor, 16) if wanted.cursor else 0
    async with hot_statements(call.services.engine) as connection:
        (run,) = found(await find_run(connection, call.project.seq, message_id), "message_not_found")
        if run is None:
            return RecipientPage(recipients=[], cursor=None)
        page = await list_recipients(connection, run, state=wanted.state, after=after, limit=wanted.limit)
    is_last = len(page) < wanted.limit
    return RecipientPage(
        recipients=[RecipientModel.of(recipient) for recipient in page],
        cursor=None if is_last else f"{page[-1].target_seq:x}",
    )
