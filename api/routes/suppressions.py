"""/v1/tidings/suppressions: addresses that must not be used again, which Appwrite's API does not know."""

from typing import Annotated

from fastapi import Query

from api.kernel import Call, Routes
from api.schemas.receipts import (
    SuppressionCreate,
    SuppressionModel,
    SuppressionNamed,
    SuppressionPage,
    SuppressionParameters,
)
from shared.db.queries.suppressions import add_suppression, find_suppression, list_suppressions, remove_suppression
from shared.db.session import hot_transaction
from shared.errors import RejectedRequest

routes = Routes("suppressions")


@routes.get("/v1/tidings/suppressions", scope="targets.read", answers=SuppressionPage)
async def get_suppressions(call: Call, wanted: Annotated[SuppressionParameters, Query()]) -> SuppressionPage:
    """By channel and address, in pages."""
    channel, _, address = wanted.cursor.partition(":")
    async with hot_transaction(call.services.engine) as connection:
        page = await list_suppressions(connection, call.project.seq, after=(channel, address), limit=wanted.limit)
    is_last = len(page) < wanted.limit
    return SuppressionPage(
        suppressions=[SuppressionModel.of(listed) for listed in page],
        cursor=None if is_last else f"{page[-1].channel}:{page[-1].identifier}",
    )


@routes.post(
    "/v1/tidings/suppressions",
    scope="targets.write",
    answers=SuppressionModel,
    refusals=["suppression_already_exists"],
)
async def create_suppression(call: Call, body: SuppressionCreate) -> SuppressionModel:
    """From now on nothing is sent to the address: its recipients are skipped."""
    async with hot_transaction(call.services.engine) as connection:
        is_new = await add_suppression(
            connection, call.project.seq, channel=body.channel, identifier=body.address, reason=body.reason
        )
        listed = await find_suppression(connection, call.project.seq, channel=body.channel, identifier=body.address)
    if not is_new or listed is None:
        raise RejectedRequest("suppression_already_exists", "The address is suppressed already.")
    return SuppressionModel.of(listed)


@routes.delete("/v1/tidings/suppressions", scope="targets.write", refusals=["suppression_not_found"])
async def delete_suppression(call: Call, wanted: Annotated[SuppressionNamed, Query()]) -> None:
    """The address may be used again. Providers may still keep it on a list of theirs."""
    async with hot_transaction(call.services.engine) as connection:
        is_gone = await remove_suppression(
            connection, call.project.seq, channel=wanted.channel, identifier=wanted.address
        )
    if not is_gone:
        raise RejectedRequest("suppression_not_found", "The address is not suppressed.")
