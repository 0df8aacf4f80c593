"""Account, sessions and JWTs on the wire (contract §15)."""

from typing import Annotated, ClassVar

from pydantic import Field

from api.schemas.base import Parameters, StoredModel, WireModel, WireMoment
from api.schemas.users import Password
from api.schemas.values import CustomId, Email, EmptyOrText128, Integer, PublicId, Text255
from api.user_agents import read_user_agent
from shared.db.models import UserSession

RECENT = "recent"


class AccountCreate(Parameters):
    user_id: CustomId
    email: Email
    password: Password
    name: EmptyOrText128 = ""
    phone: ClassVar[None] = None  # which a new user gets from a key alone


class EmailSessionCreate(Parameters):
    email: Email
    password: Password


class TokenCreate(Parameters):
    duration: Annotated[Integer, Field(ge=0, le=3600, description="Seconds it is valid")] = 900


class UserTokenCreate(TokenCreate):
    session_id: Annotated[PublicId, Field(description="`recent`: the user's newest, if there is one")] = RECENT


class TokenModel(WireModel):
    jwt: str


class PushTargetCreate(Parameters):
    target_id: CustomId
    identifier: Text255
    provider_id: PublicId | None = None


class PushTargetUpdate(Parameters):
    identifier: Text255


class SessionModel(StoredModel):
    user_id: str
    expire: WireMoment
    provider: str
    provider_uid: str
    provider_access_token: str
    provider_access_token_expiry: str
    provider_refresh_token: str
    ip: str
    os_code: str
    os_name: str
    os_version: str
    client_type: str
    client_code: str
    client_name: str
    client_version: str
    client_engine: str
    client_engine_version: str
    device_name: str
    device_brand: str
    device_model: str
    country_code: str
    country_name: str
    current: bool
    factors: list[str]
    secret: str = Field(description="The value of X-Appwrite-Session; empty unless a key made the session")
    mfa_updated_at: str

    @classmethod
    def of(cls, session: UserSession, user_id: str, *, current: bool, secret: str = "") -> "SessionModel":
        return cls.model_validate(
            {
                **read_user_agent(session.user_agent).as_fields(),
                "id": session.id,
                "created_at": session.created_at,
                "updated_at": session.updated_at,
                "user_id": user_id,
                "expire": session.expires_at,
                "provider": session.provider,
                "provider_uid": session.provider_uid,
                "provider_access_token": "",
                "provider_access_token_expiry": "",
                "provider_refresh_token": "",
                "ip": session.ip,
                "country_code": "--",  # placing addresses needs lists that are not ours to keep
                "country_name": "Unknown",
                "current": current,
                "factors": ["password" if session.provider == "email" else session.provider],
                "secret": secret,
                "mfa_updated_at": "",
            }
        )
