"""Beginning sessions and signing users' JWTs, for the account and the users routes alike."""

import json
import secrets
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from api.kernel import Call
from api.origins import is_of_another_host
from api.principals import cookie_name
from api.tokens import Purpose
from shared.db.models import User, UserSession
from shared.db.queries import user_sessions
from shared.domain.api_key import hash_secret
from shared.ids import new_public_id


async def begin_session(
    call: Call, session: AsyncSession, user: User, *, provider: str, provider_uid: str = ""
) -> tuple[UserSession, str]:
    """The session and its secret, which is stored nowhere. The user's oldest end where the project allows no more."""
    secret = secrets.token_urlsafe(48)
    started = await user_sessions.create_session(
        session,
        call.project.seq,
        user.seq,
        id=new_public_id(),
        secret_hash=hash_secret(secret),
        provider=provider,
        provider_uid=provider_uid,
        ip=call.client.host if call.client else "",
        user_agent=call.user_agent,
        expires_at=await call.services.clock.now() + timedelta(seconds=call.services.settings.session_seconds),
        most=call.project.sessions_limit,
    )
    return started, secret


def set_cookies(call: Call, secret: str, *, seconds: int) -> None:
    """Both names of the contract. A page of another host may not keep them, so it gets them as a header too."""
    name = cookie_name(call.project.id)
    attributes = f"; Path=/; HttpOnly; Max-Age={seconds}"
    if call.url.scheme == "https":
        attributes += "; Secure; SameSite=None"
    for cookie in (name, f"{name}_legacy"):
        call.answer_headers.append((b"set-cookie", f"{cookie}={secret}{attributes}".encode()))
    if is_of_another_host(call):
        call.answer_headers.append((b"x-fallback-cookies", json.dumps({name: secret}).encode()))


async def sign_user_token(call: Call, user_id: str, session_id: str, *, seconds: int) -> str:
    return call.services.tokens.sign(
        Purpose.USER,
        call.project.id,
        {"userId": user_id, "sessionId": session_id},
        expires_at=(await call.services.clock.now()).timestamp() + seconds,
    )
