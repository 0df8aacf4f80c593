"""/v1/users (contract §14), as far as messaging needs them."""

from collections import defaultdict
from typing import Annotated

from fastapi import Query
from sqlalchemy import DateTime, literal, null

from api.kernel import Call, Routes
from api.logins import begin_session, sign_user_token
from api.paths import UserId
from api.queries import Attribute, Kind, select, stored_attributes
from api.refusals import found
from api.registration import register_user
from api.schemas.account import RECENT, SessionModel, TokenModel, UserTokenCreate
from api.schemas.lists import ListParameters
from api.schemas.targets import TargetModel
from api.schemas.users import UserCreate, UserList, UserModel
from shared.db.models import Target, User
from shared.db.queries import targets, user_sessions, users
from shared.db.queries.purge import purge_user
from shared.db.queries.search import USER_TEXT, Words
from shared.db.session import hot_transaction

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
    # of consoles; no user here has them
    "impersonator": Attribute(literal(value=False), Kind.BOOLEAN),
    "accessedAt": Attribute(null().cast(DateTime(timezone=True)), Kind.MOMENT, is_nullable=True),
}
SEARCH_IN = Words(USER_TEXT, {})


@routes.get("/v1/users", scope="users.read", answers=UserList)
async def list_users(call: Call, wanted: Annotated[ListParameters, Query()]) -> UserList:
    selection = select(wanted, ATTRIBUTES, search_in=SEARCH_IN)
    async with call.services.sessions() as session:
        page = await users.list_users(session, call.project.seq, selection)
        listed: list[User] = [user for (user,) in page.rows]
        owned: defaultdict[int, list[Target]] = defaultdict(list)
        for target in await targets.find_targets_of_users(session, [user.seq for user in listed]):
            owned[target.user_seq].append(target)
    return UserList(
        total=page.total,
        users=[UserModel.of(user, [TargetModel.of(target, user.id) for target in owned[user.seq]]) for user in listed],
    )


@routes.post("/v1/users", scope="users.write", answers=UserModel, refusals=["user_already_exists"])
async def create_user(call: Call, body: UserCreate) -> UserModel:
    """With a target for the e-mail address and one for the phone number."""
    user, owned = await register_user(call, body)
    return UserModel.of(user, owned)


@routes.get("/v1/users/{userId}", scope="users.read", answers=UserModel, refusals=["user_not_found"])
async def get_user(call: Call, user_id: UserId) -> UserModel:
    async with call.services.sessions() as session:
        user = found(await users.find_user(session, call.project.seq, user_id), "user_not_found")
        owned = await targets.find_targets_of_users(session, [user.seq])
    return UserModel.of(user, [TargetModel.of(target, user.id) for target in owned])


@routes.delete("/v1/users/{userId}", scope="users.write", refusals=["user_not_found"], takes_long=True)
async def delete_user(call: Call, user_id: UserId) -> None:
    """With targets, subscriptions and sessions, in pages."""
    async with call.bounded(), call.services.sessions() as session:
        user = found(await users.find_user(session, call.project.seq, user_id), "user_not_found")
    is_gone = False
    while not is_gone:
        async with call.bounded(), hot_transaction(call.services.engine) as connection:
            is_gone = await purge_user(connection, user.seq)


@routes.post("/v1/users/{userId}/sessions", scope="users.write", answers=SessionModel, refusals=["user_not_found"])
async def create_session(call: Call, user_id: UserId) -> SessionModel:
    """`secret` is the value of X-Appwrite-Session."""
    async with call.services.sessions.begin() as session:
        user = found(await users.hold_user(session, call.project.seq, user_id), "user_not_found")
        started, secret = await begin_session(call, session, user, provider="server")
    return SessionModel.of(started, user_id, current=False, secret=secret)


@routes.post(
    "/v1/users/{userId}/jwts",
    scope="users.write",
    answers=TokenModel,
    refusals=["user_not_found", "user_session_not_found"],
)
async def create_user_jwt(call: Call, user_id: UserId, body: UserTokenCreate) -> TokenModel:
    """Stands for the user where a key would say too much."""
    async with call.services.sessions() as session:
        user = found(await users.find_user(session, call.project.seq, user_id), "user_not_found")
        is_recent = body.session_id == RECENT
        named = await user_sessions.find_session(session, user.seq, None if is_recent else body.session_id)
    if not is_recent:
        found(named, "user_session_not_found")
    return TokenModel(jwt=await sign_user_token(call, user_id, named.id if named else "", seconds=body.duration))
