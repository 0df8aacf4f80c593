"""/v1/messaging/providers (contract §9): one pair of routes per kind, out of one table."""

import json
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy.ext.asyncio import AsyncSession

from api.audit import actor_of
from api.kernel import Call, Routes
from api.paths import ProviderId
from api.queries import Attribute, Kind, select, stored_attributes
from api.refusals import created, found
from api.schemas.lists import ListParameters
from api.schemas.providers import (
    KINDS,
    ProviderCreate,
    ProviderKind,
    ProviderList,
    ProviderModel,
    ProviderUpdate,
    WireObject,
    mask,
    pick,
    unmask,
)
from shared.db.models import Provider
from shared.db.queries import providers
from shared.db.queries.audit import Event, record_change
from shared.db.queries.providers import credentials_context
from shared.domain.queues import PROVIDER_KINDS
from shared.errors import RejectedRequest

routes = Routes("providers")

ATTRIBUTES = {
    **stored_attributes(Provider),
    "name": Attribute(Provider.name),
    "provider": Attribute(Provider.kind),
    "type": Attribute(Provider.channel),
    "enabled": Attribute(Provider.enabled, Kind.BOOLEAN),
}
SEARCH_IN = (Provider.id, Provider.name, Provider.kind, Provider.channel)


def _encrypt(call: Call, provider_id: str, credentials: WireObject) -> str:
    context = credentials_context(call.project.seq, provider_id)
    return call.services.secret_box.encrypt(json.dumps(credentials), context=context)


def _decrypt(call: Call, provider: Provider) -> WireObject:
    context = credentials_context(call.project.seq, provider.id)
    credentials: WireObject = json.loads(
        call.services.secret_box.decrypt(provider.credentials_encrypted, context=context)
    )
    return credentials


def _show(call: Call, provider: Provider) -> ProviderModel:
    """In clear, as the contract has it, unless the project hides credentials."""
    credentials = _decrypt(call, provider)
    return ProviderModel.of(provider, mask(credentials) if call.project.mask_credentials else credentials)


async def _record(call: Call, session: AsyncSession, seq: int, provider_id: str, event: Event) -> None:
    await record_change(
        session, actor_of(call), call.project.seq, resource="provider", seq=seq, id=provider_id, event=event
    )


async def _create(call: Call, kind: ProviderKind, body: ProviderCreate) -> ProviderModel:
    """Never fails for what is missing: an incomplete provider is stored, but not enabled."""
    credentials, options = pick(body, kind.credentials), pick(body, kind.options)
    async with call.services.sessions.begin() as session:
        provider = await providers.create_provider(
            session,
            call.project.seq,
            id=body.provider_id,
            name=body.name,
            kind=kind.name,
            channel=PROVIDER_KINDS[kind.name],
            enabled=bool(body.enabled) and kind.is_complete(credentials, options, is_new=True),
            credentials_encrypted=_encrypt(call, body.provider_id, credentials),
            options=options,
        )
        provider = created(provider, "provider_already_exists")
        await _record(call, session, provider.seq, provider.id, "create")
    return _show(call, provider)


async def _update(call: Call, kind: ProviderKind, provider_id: str, body: ProviderUpdate) -> ProviderModel:
    async with call.services.sessions.begin() as session:
        provider = found(
            await providers.find_provider(session, call.project.seq, provider_id, for_update=True),
            "provider_not_found",
        )
        if provider.kind != kind.name:
            raise RejectedRequest("provider_incorrect_type", f"The provider is of the kind {provider.kind}.")
        stored, given = _decrypt(call, provider), pick(body, kind.credentials)
        if call.project.mask_credentials:
            given = unmask(given, stored)
        credentials = stored | given
        options = provider.options | pick(body, kind.options)
        if body.enabled and not kind.is_complete(credentials, options):
            needs = ", ".join(kind.needs)
            raise RejectedRequest("provider_missing_credentials", f"To be enabled it needs {needs}.")
        provider = await providers.update_provider(
            session,
            provider.seq,
            name=body.name or provider.name,
            enabled=provider.enabled if body.enabled is None else body.enabled,
            credentials_encrypted=_encrypt(call, provider_id, credentials),
            options=options,
        )
        await _record(call, session, provider.seq, provider.id, "update")
    return _show(call, provider)


def _declare(kind: ProviderKind) -> None:
    path = f"/v1/messaging/providers/{kind.name}"

    async def create(call: Call, body: Any) -> ProviderModel:
        return await _create(call, kind, body)

    async def update(call: Call, provider_id: ProviderId, body: Any) -> ProviderModel:
        return await _update(call, kind, provider_id, body)

    # the kernel and FastAPI read a handler's parameters off its annotations; these are only known here
    create.__annotations__["body"] = kind.create
    update.__annotations__["body"] = kind.update
    create.__doc__ = (
        f"An account that delivers {PROVIDER_KINDS[kind.name].value}. Incomplete, it is kept but not enabled."
    )
    update.__doc__ = f"What is given replaces what is stored. To be enabled it needs {', '.join(kind.needs)}."
    create.__name__ = f"create_{kind.name}_provider"
    update.__name__ = f"update_{kind.name}_provider"
    routes.post(path, scope="providers.write", answers=ProviderModel, refusals=["provider_already_exists"])(create)
    routes.patch(
        f"{path}/{{providerId}}",
        scope="providers.write",
        answers=ProviderModel,
        refusals=["provider_not_found", "provider_incorrect_type", "provider_missing_credentials"],
    )(update)


for _kind in KINDS.values():
    _declare(_kind)


@routes.get("/v1/messaging/providers", scope="providers.read", answers=ProviderList)
async def list_providers(call: Call, wanted: Annotated[ListParameters, Query()]) -> ProviderList:
    selection = select(wanted, ATTRIBUTES, search_in=SEARCH_IN)
    async with call.services.sessions() as session:
        page = await providers.list_providers(session, call.project.seq, selection)
    return ProviderList(total=page.total, providers=[_show(call, provider) for (provider,) in page.rows])


@routes.get(
    "/v1/messaging/providers/{providerId}",
    scope="providers.read",
    answers=ProviderModel,
    refusals=["provider_not_found"],
)
async def get_provider(call: Call, provider_id: ProviderId) -> ProviderModel:
    async with call.services.sessions() as session:
        provider = await providers.find_provider(session, call.project.seq, provider_id)
    return _show(call, found(provider, "provider_not_found"))


@routes.delete("/v1/messaging/providers/{providerId}", scope="providers.write", refusals=["provider_not_found"])
async def delete_provider(call: Call, provider_id: ProviderId) -> None:
    async with call.services.sessions.begin() as session:
        seq = found(await providers.delete_provider(session, call.project.seq, provider_id), "provider_not_found")
        await _record(call, session, seq, provider_id, "delete")
