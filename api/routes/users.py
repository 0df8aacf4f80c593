"""/v1/users (contract §14), as far as messaging needs them."""

import asyncio
from typing import Annotated

from fastapi import Query
from sqlalchemy import func, literal
from sqlalchemy.ext.asyncio import AsyncSession

from api.kernel import Call, Routes
from api.passwords import hash_password
from api.paths import UserId
from api.queries import Attribute, Kind, select, stored_attributes
from api.refusals import created, found
from api.schemas.lists import ListParameters
from api.schemas.targets import TargetModel
from api.schemas.users import UserCreate, UserList, UserModel
from shared.db.models import User
from shared.db.queries import targets, users
from shared.domain.contacts.addresses import read_email
from shared.domain.status import Channel
from shared.ids import ProjectSeq, new_public_id

routes = Routes("users")

ATTRIBUTES = {
    **stored_attributes(User),
    "name": Attribute(User.name),
    "email": Attribute(User.email),
    "phone": Attribute(User.phone),
    "status": Attribute(User.is_enabled, Kind.BOOLEAN),
    "passwordUpdate": Attribute(User.password_updated_at, Kind.MOMENT, is_nullable=True),
    "registration": Attribute(User.created_at, Kind.MOMENT),
    "emailVerification": Attribute(User.email_verified, Kind.BOOLEAN),
    "phoneVerification": Attribute(User.phone_verified, Kind.BOOLEAN),
    "labels": Attribute(User.labels, Kind.TEXTS),
}
LABELS = literal("label:").concat(func.nullif(func.array_to_string(User.labels, " label:"), ""))
SEARCH_IN = (User.id, User.email, User.phone, User.name, LABELS)


async def _create_target_of(
    session: AsyncSession, project_seq: ProjectSeq, user: User, channel: Channel, identifier: str
) -> TargetModel:
    """The user's address as a target, or the target it is already, whoever's that is."""
    target = await targets.create_target(
        session, project_seq, user.seq, id=new_public_id(), channel=channel, identifier=identifier
    )
    if target is not None:
        return TargetModel.of(target, user.id)
    existing = await targets.find_target_by_identifier(session, project_seq, identifier)
    if existing is not None:
        return TargetModel.of(existing.target, existing.user_id)
    return await _create_target_of(session, project_seq, user, channel, identifier)  # it was deleted in between


@routes.get("/v1/users", scope="users.read", answers=UserList)
async def list_users(call: Call, wanted: Annotated[ListParameters, Query()]) -> UserList:
    selection = select(wanted, ATTRIBUTES, search_in=SEARCH_IN)
    async with call.services.sessions() as session:
        page = await users.list_users(session, call.project.seq, selection)
        listed: list[User] = [user for (user,) in page.rows]
        owned = await targets.find_targets_of_users(session, [user.seq for user in listed])
    return UserList(
        total=page.total,
        users=[
            UserModel.of(user, [TargetModel.of(target, user.id) for target in owned if target.user_seq == user.seq])
            for user in listed
        ],
    )


@routes.post("/v1/users", scope="users.write", answers=UserModel, refusals=["user_already_exists"])
async def create_user(call: Call, body: UserCreate) -> UserModel:
    password_hash = await asyncio.to_thread(hash_password, body.password) if body.password else None
    async with call.services.sessions.begin() as session:
        user = created(
            await users.create_user(
                session,
                call.project.seq,
                id=body.user_id,
                name=body.name,
                email=read_email(body.email) if body.email else "",
                phone=body.phone or "",
                password_hash=password_hash,
                password_updated_at=func.now() if password_hash else None,
            ),
            "user_already_exists",
        )
        addresses = [(Channel.EMAIL, user.email), (Channel.SMS, user.phone)]
        owned = [
            await _create_target_of(session, call.project.seq, user, channel, identifier)
            for channel, identifier in addresses
            if identifier
        ]
    return UserModel.of(user, owned)


@routes.get("/v1/users/{userId}", scope="users.read", answers=UserModel, refusals=["user_not_found"])
async def get_user(call: Call, user_id: UserId) -> UserModel:
    async with call.services.sessions() as session:
        user = found(await users.find_user(session, call.project.seq, user_id), "user_not_found")
        owned = await targets.find_targets_of_users(session, [user.seq])
    return UserModel.of(user, [TargetModel.of(target, user.id) for target in owned])


@routes.delete("/v1/users/{userId}", scope="users.write", refusals=["user_not_found"])
async def delete_user(call: Call, user_id: UserId) -> None:
    async with call.services.sessions.begin() as session:
        found(await users.delete_user(session, call.project.seq, user_id), "user_not_found")
