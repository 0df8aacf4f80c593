"""/v1/tidings/receipts: where providers post what became of messages, and what an operator tells them to use."""

import json
import time
from collections import Counter
from typing import Annotated

import structlog
from fastapi import Path

from api.declarations import Upload
from api.kernel import Call, Routes
from api.paths import ProviderId
from api.refusals import found
from api.schemas.receipts import ReceiptsSetup, ReceiptsSetupUpdate, ReceiptsTaken
from shared import metrics
from shared.aside import whose
from shared.db.models import Provider
from shared.db.queries import providers
from shared.db.queries.installation import is_live
from shared.db.queries.providers import credentials_context, receipts_context
from shared.db.queries.receipts import append_receipts, is_crowded
from shared.db.session import hot_statements
from shared.errors import RejectedRequest
from shared.providers.contract import Account
from shared.providers.receipts import LARGEST_BATCH, LARGEST_BODY, FetchForbidden, ReceiptCall, ReceiptRefused
from shared.providers.registry import FETCHING_KINDS, GATHERING_KINDS, RECEIPT_READERS

routes = Routes("receipts")

PAGE = 1_000
"""Receipts of one statement."""

MOST_WAITING = 500_000
"""Receipts of a project that may wait to be taken up: minutes of them. Providers keep theirs and come again."""

CROWD_SECONDS = 5.0
"""For which a process goes by what it knows of a project's waiting receipts."""

_REFUSALS = ["provider_not_found", "user_unauthorized", "general_rate_limit_exceeded", "installation_not_live"]

Place = Annotated[str, Path(alias="place", max_length=64, description="Made by us; see the provider's receipts")]

log = structlog.get_logger(__name__)


@routes.post(
    "/v1/tidings/receipts/{place}",
    scope=(),
    answers=ReceiptsTaken,
    refusals=[*_REFUSALS, "general_body_too_large"],
    upload=Upload("application/octet-stream", LARGEST_BATCH),
    takes_long=True,
    status=200,
)
async def take_receipts(call: Call, place: Place) -> ReceiptsTaken:
    """For providers: signed as each of them signs. Taken up into the ledger soon after."""
    return await _take(call, place)


@routes.get("/v1/tidings/receipts/{place}", answers=ReceiptsTaken, refusals=_REFUSALS)
async def take_receipts_of_query(call: Call, place: Place) -> ReceiptsTaken:
    """For providers that put a receipt into the address."""
    return await _take(call, place)


async def _take(call: Call, place: str) -> ReceiptsTaken:
    provider = await _provider_of(call, place)
    whose.set(f"receipts of {provider.project_seq}")  # no project's id has a blank
    services = call.services
    await _refuse_crowd(call, provider)
    reader = RECEIPT_READERS[provider.kind]
    endpoint = services.settings.endpoint_of(provider.kind)
    query = f"?{call.url.query}" if call.url.query else ""
    received = ReceiptCall(
        url=f"{_address(call, provider)}{query}",
        headers={name.lower(): value for name, value in call.headers.items()},
        body=await _body_of(call, provider.kind),
        received_at=(await services.clock.now()).timestamp(),
    )
    try:
        receipts = await reader(
            _account(call, provider),
            received,
            transport=services.transport if await _may_fetch(call, provider.kind, endpoint) else None,
            endpoint=endpoint,
        )
    except FetchForbidden as error:
        metrics.RECEIPTS.labels(provider.kind, "refused").inc()
        log.warning("receipts.not_live", kind=provider.kind, provider_seq=provider.seq)
        raise RejectedRequest(
            "installation_not_live", "This installation is not live, so it fetches nothing from providers."
        ) from error
    except ReceiptRefused as error:
        metrics.RECEIPTS.labels(provider.kind, "refused").inc()
        log.warning("receipts.refused", kind=provider.kind, provider_seq=provider.seq, reason=str(error))
        raise RejectedRequest("user_unauthorized", f"The receipt is not accepted: {error}") from error
    new = 0
    for start in range(0, len(receipts), PAGE):
        async with call.bounded(), hot_statements(services.engine) as connection:
            new += await append_receipts(
                connection,
                project_seq=provider.project_seq,
                provider_seq=provider.seq,
                receipts=receipts[start : start + PAGE],
            )
    for kind, number in Counter(receipt.kind for receipt in receipts).items():
        metrics.RECEIPTS.labels(provider.kind, kind).inc(number)
    return ReceiptsTaken(received=len(receipts), new=new)


async def _may_fetch(call: Call, kind: str, endpoint: str | None) -> bool:
    if endpoint or kind not in FETCHING_KINDS:
        return True
    async with call.bounded(), call.services.sessions() as session:
        return await is_live(session)


async def _refuse_crowd(call: Call, provider: Provider) -> None:
    """Raises RejectedRequest where more of a project's receipts wait than are taken up in minutes."""
    known_until, crowded = call.services.crowds.get(provider.project_seq, (0.0, False))
    if known_until < time.monotonic():
        async with call.bounded(), hot_statements(call.services.engine) as connection:
            crowded = await is_crowded(connection, provider.project_seq, most=MOST_WAITING)
        call.services.crowds[provider.project_seq] = (time.monotonic() + CROWD_SECONDS, crowded)
    if crowded:
        metrics.RECEIPTS.labels(provider.kind, "refused").inc()
        call.answer_headers.append((b"retry-after", b"60"))
        raise RejectedRequest("general_rate_limit_exceeded", "Too many receipts of this project wait. Try again later.")


async def _body_of(call: Call, kind: str) -> bytes:
    """Raises RejectedRequest for one that is longer than providers of this kind send, before all of it has come."""
    limit = LARGEST_BATCH if kind in GATHERING_KINDS else LARGEST_BODY
    body = bytearray()
    async for piece in call.stream():
        body += piece
        if len(body) > limit:
            metrics.RECEIPTS.labels(kind, "refused").inc()
            raise RejectedRequest("general_body_too_large", f"Receipts of {kind} have at most {limit} bytes.")
    return bytes(body)


async def _provider_of(call: Call, place: str) -> Provider:
    provider_seq = call.services.receipt_addresses.provider_of(place)
    if provider_seq is not None:
        async with call.bounded(), call.services.sessions() as session:
            provider = await session.get(Provider, provider_seq)
        if provider is not None and provider.kind in RECEIPT_READERS:
            return provider
    raise RejectedRequest("provider_not_found", "No provider posts receipts here.")


def _address(call: Call, provider: Provider) -> str:
    """As the provider was told, since signatures may cover it: a proxy in front of us may show us another one."""
    told = call.services.receipt_addresses.url_of(provider.seq)
    return told or f"{str(call.base_url).rstrip('/')}{call.url.path}"


def _account(call: Call, provider: Provider) -> Account:
    box, sealed = call.services.secret_box, provider.receipts_secret_encrypted
    context = receipts_context(provider.project_seq, provider.id)
    return Account(
        provider_seq=provider.seq,
        version=provider.version,
        credentials=json.loads(
            box.decrypt(provider.credentials_encrypted, context=credentials_context(provider.project_seq, provider.id))
        ),
        options=provider.options,
        receipts_secret=box.decrypt(sealed, context=context) if sealed else "",
    )


@routes.get(
    "/v1/tidings/providers/{providerId}/receipts",
    scope="providers.read",
    answers=ReceiptsSetup,
    refusals=["provider_not_found"],
)
async def get_receipts_setup(call: Call, provider_id: ProviderId) -> ReceiptsSetup:
    """The address to enter at the provider, where it is not told with each message."""
    async with call.services.sessions() as session:
        provider = found(await providers.find_provider(session, call.project.seq, provider_id), "provider_not_found")
    return _show(call, provider)


@routes.put(
    "/v1/tidings/providers/{providerId}/receipts",
    scope="providers.write",
    answers=ReceiptsSetup,
    refusals=["provider_not_found"],
)
async def set_receipts_secret(call: Call, provider_id: ProviderId, body: ReceiptsSetupUpdate) -> ReceiptsSetup:
    """The key that the provider signs receipts with, as its console shows it; empty: none. Never shown again."""
    context = receipts_context(call.project.seq, provider_id)
    sealed = call.services.secret_box.encrypt(body.secret, context=context) if body.secret else None
    async with call.services.sessions.begin() as session:
        provider = found(await providers.find_provider(session, call.project.seq, provider_id), "provider_not_found")
        provider = await providers.update_provider(session, provider.seq, receipts_secret_encrypted=sealed)
    return _show(call, provider)


def _show(call: Call, provider: Provider) -> ReceiptsSetup:
    return ReceiptsSetup(
        provider_id=provider.id,
        is_supported=provider.kind in RECEIPT_READERS,
        url=call.services.receipt_addresses.url_of(provider.seq),
        has_secret=provider.receipts_secret_encrypted is not None,
    )
