"""/v1/account (contract §15): what users do for themselves."""

import asyncio

from sqlalchemy.exc import IntegrityError

from api.kernel import Call, Routes
from api.limits import RateLimit
from api.logins import begin_session, set_cookies, sign_user_token
from api.passwords import hash_password, is_password
from api.paths import SessionId, TargetId
from api.principals import KeyHolder, LoggedIn
from api.refusals import created, found
from api.registration import register_user
from api.schemas.account import (
    AccountCreate,
    EmailSessionCreate,
    PushTargetCreate,
    PushTargetUpdate,
    SessionModel,
    TokenCreate,
    TokenModel,
)
from api.schemas.targets import TargetModel
from api.schemas.users import UserModel
from api.user_agents import read_user_agent
from shared.db.models import Target
from shared.db.queries import targets, user_sessions
from shared.db.queries.providers import find_provider
from shared.db.queries.users import find_user, find_user_by_email
from shared.domain.contacts.addresses import read_email
from shared.domain.status import Channel
from shared.errors import RejectedRequest

routes = Routes("account")

HOUR = 3600
LOGINS = RateLimit(
    # one account, from one client
    *(10, HOUR),
    by=("account", "network"),
    is_forgotten=True,
    # one client, whatever accounts: who tries one password at many; and each costs us some 50 ms of CPU
    before=(RateLimit(20, 600, by=("network",)),),
    # one account, by however many clients. Whoever has a hundred networks could keep its owner out with it, so where
    # the owner logged in lately only the windows above count
    after=(RateLimit(100, HOUR, by=("account",), spares_known=True),),
)
"""Logins that fail."""

CURRENT = "current"


@routes.post(
    "/v1/account",
    scope="sessions.write",
    answers=UserModel,
    refusals=["user_already_exists", "user_count_exceeded"],
    limit=RateLimit(10, HOUR, by=("network",)),
)
async def create_account(call: Call, body: AccountCreate) -> UserModel:
    """Signing up, with a target for the e-mail address. A project may be closed to guests."""
    if not call.project.sign_up and not isinstance(call.principal, KeyHolder):
        raise RejectedRequest("user_count_exceeded", "The project takes no new users who sign up by themselves.")
    user, owned = await register_user(call, body)
    return UserModel.of(user, owned, with_hash=False)


@routes.get("/v1/account", scope="account", answers=UserModel)
async def get_account(call: Call) -> UserModel:
    async with call.services.sessions() as session:
        user = found(await find_user(session, call.project.seq, call.user.id), "user_not_found")
        owned = await targets.find_targets_of_users(session, [user.seq])
    return UserModel.of(user, [TargetModel.of(target, user.id) for target in owned], with_hash=False)


@routes.post(
    "/v1/account/sessions/email",
    scope="sessions.write",
    answers=SessionModel,
    refusals=["user_invalid_credentials", "user_session_already_exists", "user_blocked"],
    limit=LOGINS,
)
async def create_email_session(call: Call, body: EmailSessionCreate) -> SessionModel:
    """Sets the session's cookies."""
    if isinstance(call.principal, LoggedIn):
        raise RejectedRequest("user_session_already_exists", "There is a session already. End it first.")
    async with call.services.sessions() as session:
        user = await find_user_by_email(session, call.project.seq, read_email(body.email))
    if user is None or user.password_hash is None:
        await asyncio.to_thread(hash_password, body.password)  # as slow as for a known address
        raise RejectedRequest("user_invalid_credentials", "E-mail address or password is wrong.")
    if not await asyncio.to_thread(is_password, body.password, user.password_hash):
        raise RejectedRequest("user_invalid_credentials", "E-mail address or password is wrong.")
    if not user.is_enabled:
        raise RejectedRequest("user_blocked", "The user is blocked.")
    try:
        async with call.services.sessions.begin() as session:
            started, secret = await begin_session(call, session, user, provider="email", provider_uid=user.email)
    except IntegrityError as error:  # the user was deleted since the password was checked
        raise RejectedRequest("user_invalid_credentials", "E-mail address or password is wrong.") from error
    if call.counted:
        await call.counted.succeed()
    set_cookies(call, secret, seconds=int(call.services.settings.session_seconds))
    return SessionModel.of(started, user.id, current=True)


@routes.delete("/v1/account/sessions/{sessionId}", scope="account", refusals=["user_session_not_found"])
async def delete_session(call: Call, session_id: SessionId) -> None:
    """`current` ends the session of the request itself. The devices it registered go with it."""
    ended = call.user.session_id if session_id == CURRENT else session_id
    async with call.services.sessions.begin() as session:
        is_ended = ended is not None and await user_sessions.end_session(session, call.user.seq, ended)
    found(is_ended, "user_session_not_found")
    if ended == call.user.session_id:
        set_cookies(call, "", seconds=0)


@routes.post("/v1/account/jwts", scope="account", answers=TokenModel)
async def create_jwt(call: Call, body: TokenCreate) -> TokenModel:
    return await _sign_for_session(call, body)


@routes.post("/v1/account/jwt", scope="account", answers=TokenModel)
async def create_jwt_by_old_name(call: Call, body: TokenCreate) -> TokenModel:
    return await _sign_for_session(call, body)


async def _sign_for_session(call: Call, body: TokenCreate) -> TokenModel:
    """A JWT does not beget another: its holder would never have to log in again."""
    if call.user.session_id is None or call.headers.get("x-appwrite-jwt"):
        raise RejectedRequest("general_unauthorized_scope", "Only a session can ask for a JWT.")
    return TokenModel(jwt=await sign_user_token(call, call.user.id, call.user.session_id, seconds=body.duration))


@routes.post(
    "/v1/account/targets/push",
    scope="account",
    answers=TargetModel,
    refusals=["user_target_already_exists"],
)
async def create_push_target(call: Call, body: PushTargetCreate) -> TargetModel:
    """Register this device; it is forgotten with the session."""
    async with call.services.sessions.begin() as session:
        # an unknown provider is no mistake: the default one serves the target (contract §14)
        provider = body.provider_id and await find_provider(session, call.project.seq, body.provider_id)
        try:
            target = await targets.create_target(
                session,
                call.project.seq,
                call.user.seq,
                id=body.target_id,
                channel=Channel.PUSH,
                identifier=body.identifier,
                provider_id=provider.id if provider else None,
                name=read_user_agent(call.user_agent).label,
                session_seq=call.user.session_seq,
            )
        except IntegrityError as error:  # whoever comes with an ended session is a guest, also in the middle of a call
            raise RejectedRequest("general_unauthorized_scope", "The session has ended.") from error
    return TargetModel.of(created(target, "user_target_already_exists"), call.user.id)


def _own_push_target(target: Target | None) -> Target:
    return found(target if target and target.channel == Channel.PUSH else None, "user_target_not_found")


@routes.put(
    "/v1/account/targets/{targetId}/push",
    scope="account",
    answers=TargetModel,
    refusals=["user_target_not_found", "user_target_already_exists"],
)
async def update_push_target(call: Call, target_id: TargetId, body: PushTargetUpdate) -> TargetModel:
    """A new token makes an expired device live again."""
    async with call.services.sessions.begin() as session:
        target = _own_push_target(
            await targets.find_target(session, call.project.seq, target_id, user_seq=call.user.seq)
        )
        try:
            changed = await targets.update_target(session, target.seq, identifier=body.identifier, expired=False)
        except IntegrityError as error:
            raise RejectedRequest("user_target_already_exists", "Another target has this identifier.") from error
    return TargetModel.of(found(changed, "user_target_not_found"), call.user.id)


@routes.delete("/v1/account/targets/{targetId}/push", scope="account", refusals=["user_target_not_found"])
async def delete_push_target(call: Call, target_id: TargetId) -> None:
    async with call.services.sessions.begin() as session:
        target = _own_push_target(
            await targets.find_target(session, call.project.seq, target_id, user_seq=call.user.seq)
        )
        await targets.delete_target(session, call.project.seq, target.id, user_seq=call.user.seq)
