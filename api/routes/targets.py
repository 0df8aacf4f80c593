"""/v1/users/{userId}/targets (contract §14)."""

from typing import Annotated

from fastapi import Query
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from api.kernel import Call, Routes
from api.paths import TargetId, UserId
from api.queries import Attribute, select, stored_attributes
from api.refusals import created, found
from api.schemas.lists import UnsearchableListParameters
from api.schemas.targets import TargetCreate, TargetList, TargetModel, TargetUpdate
from api.schemas.values import is_email
from shared.db.models import Target, User
from shared.db.queries import targets
from shared.db.queries.providers import find_provider
from shared.db.queries.users import find_user, hold_user
from shared.domain.contacts.addresses import NotAnAddress, read_phone
from shared.domain.status import Channel
from shared.errors import RejectedRequest

routes = Routes("targets")

# up to 1.9.0 targets had scopes of their own, since 1.9.5 they go with their users (contract §3.3)
READ = ("targets.read", "users.read")
WRITE = ("targets.write", "users.write")

ATTRIBUTES = {
    **stored_attributes(Target),
    "userId": Attribute(User.id),
    "providerId": Attribute(Target.provider_id, is_nullable=True),
    "identifier": Attribute(Target.identifier),
    "providerType": Attribute(Target.channel),
}


def _check_identifier(channel: str, identifier: str) -> None:
    """Device tokens have no common form; the others do."""
    if channel == Channel.EMAIL and not is_email(identifier):
        raise RejectedRequest("general_invalid_email", "The identifier is not a valid e-mail address.")
    if channel == Channel.SMS:
        _check_number(identifier)


def _check_number(identifier: str) -> None:
    """Stored as it was given, so only in the one form that each number has; else it could be stored twice."""
    try:
        number = read_phone(identifier)
    except NotAnAddress as error:
        raise RejectedRequest("general_invalid_phone", f"The identifier cannot be texted to. {error}") from error
    if number != identifier:
        raise RejectedRequest("general_invalid_phone", f"The identifier is a phone number that is written {number}.")


async def _find_user(call: Call, session: AsyncSession, user_id: str) -> User:
    return found(await find_user(session, call.project.seq, user_id), "user_not_found")


@routes.get("/v1/users/{userId}/targets", scope=READ, answers=TargetList, refusals=["user_not_found"])
async def list_targets(
    call: Call, user_id: UserId, wanted: Annotated[UnsearchableListParameters, Query()]
) -> TargetList:
    async with call.services.sessions() as session:
        user = await _find_user(call, session, user_id)
        page = await targets.list_targets_of_user(session, user.seq, select(wanted, ATTRIBUTES))
    return TargetList(total=page.total, targets=[TargetModel.of(*row) for row in page.rows])


@routes.post(
    "/v1/users/{userId}/targets",
    scope=WRITE,
    answers=TargetModel,
    refusals=["general_invalid_email", "general_invalid_phone", "user_not_found", "user_target_already_exists"],
)
async def create_target(call: Call, user_id: UserId, body: TargetCreate) -> TargetModel:
    """An unknown provider is stored as null: the default one serves the target."""
    _check_identifier(body.provider_type, body.identifier)
    async with call.services.sessions.begin() as session:
        user = found(await hold_user(session, call.project.seq, user_id), "user_not_found")
        # an unknown provider is no mistake: the default one serves the target (contract §14)
        provider = body.provider_id and await find_provider(session, call.project.seq, body.provider_id)
        target = await targets.create_target(
            session,
            call.project.seq,
            user.seq,
            id=body.target_id,
            channel=body.provider_type,
            identifier=body.identifier,
            provider_id=provider.id if provider else None,
            name=body.name or "",
        )
    return TargetModel.of(created(target, "user_target_already_exists"), user_id)


@routes.get(
    "/v1/users/{userId}/targets/{targetId}",
    scope=READ,
    answers=TargetModel,
    refusals=["user_not_found", "user_target_not_found"],
)
async def get_target(call: Call, user_id: UserId, target_id: TargetId) -> TargetModel:
    async with call.services.sessions() as session:
        user = await _find_user(call, session, user_id)
        target = await targets.find_target(session, call.project.seq, target_id, user_seq=user.seq)
    return TargetModel.of(found(target, "user_target_not_found"), user_id)


@routes.patch(
    "/v1/users/{userId}/targets/{targetId}",
    scope=WRITE,
    answers=TargetModel,
    refusals=[
        "user_not_found",
        "user_target_not_found",
        "general_invalid_email",
        "general_invalid_phone",
        "provider_not_found",
        "provider_incorrect_type",
        "user_target_already_exists",
    ],
)
async def update_target(call: Call, user_id: UserId, target_id: TargetId, body: TargetUpdate) -> TargetModel:
    """A new identifier makes an expired target live again."""
    given = body.model_dump(exclude_unset=True)
    async with call.services.sessions.begin() as session:
        user = await _find_user(call, session, user_id)
        target = found(
            await targets.find_target(session, call.project.seq, target_id, user_seq=user.seq),
            "user_target_not_found",
        )
        if body.identifier:
            _check_identifier(target.channel, body.identifier)
            given["expired"] = False
        if body.provider_id:
            provider = found(await find_provider(session, call.project.seq, body.provider_id), "provider_not_found")
            if provider.channel != target.channel:
                raise RejectedRequest("provider_incorrect_type", f"The provider is not for {target.channel}.")
        try:
            changed = await targets.update_target(session, target.seq, **given)
        except IntegrityError as error:
            raise RejectedRequest("user_target_already_exists", "Another target has this identifier.") from error
    return TargetModel.of(found(changed, "user_target_not_found"), user_id)


@routes.delete(
    "/v1/users/{userId}/targets/{targetId}", scope=WRITE, refusals=["user_not_found", "user_target_not_found"]
)
async def delete_target(call: Call, user_id: UserId, target_id: TargetId) -> None:
    """It leaves its topics."""
    async with call.services.sessions.begin() as session:
        user = await _find_user(call, session, user_id)
        found(
            await targets.delete_target(session, call.project.seq, target_id, user_seq=user.seq),
            "user_target_not_found",
        )
