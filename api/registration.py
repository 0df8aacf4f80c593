"""register_user(): a new user with a target for each address, whether a key or the user asks for it."""

import asyncio

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from api.kernel import Call
from api.passwords import hash_password
from api.principals import KeyHolder
from api.refusals import created
from api.schemas.account import AccountCreate
from api.schemas.targets import TargetModel
from api.schemas.users import UserCreate
from shared.db.models import User
from shared.db.queries import targets, users
from shared.domain.contacts.addresses import read_email
from shared.domain.status import Channel
from shared.ids import ProjectSeq, new_public_id


async def register_user(call: Call, body: UserCreate | AccountCreate) -> tuple[User, list[TargetModel]]:
    """The user and the targets of e-mail and phone. Raises RejectedRequest where one of them is taken."""
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
    # somebody else's are for keys alone: who signs up learns neither their ids nor whose they are
    may_see_all = isinstance(call.principal, KeyHolder)
    return user, [target for target in owned if may_see_all or target.user_id == user.id]


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
