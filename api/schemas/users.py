"""Users on the wire (contract §14)."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from api.passwords import describe_hash
from api.schemas.base import Parameters, StoredModel, WireModel, WireMoment
from api.schemas.targets import TargetModel
from api.schemas.values import CustomId, Email, EmptyOrText128, Phone
from shared.clock import to_wire
from shared.db.models import User

Password = Annotated[str, StringConstraints(min_length=8, max_length=256)]


class UserCreate(Parameters):
    user_id: CustomId
    email: Email | None = None
    phone: Phone | None = None
    password: Password | None = None
    name: EmptyOrText128 = ""


class UserModel(StoredModel):
    name: str
    password: str | None = Field(description="The hash, without its salt")
    hash: str | None = Field(description="How the password is hashed")
    hash_options: dict[str, Any] | None
    registration: WireMoment
    status: bool = Field(description="false: the user is blocked")
    labels: list[str]
    password_update: str = Field(description="When the password was set; empty without one")
    email: str
    phone: str
    email_verification: bool
    phone_verification: bool
    mfa: bool
    prefs: dict[str, Any]
    targets: list[TargetModel]
    accessed_at: str
    email_canonical: str | None
    email_is_free: bool | None
    email_is_disposable: bool | None
    email_is_corporate: bool | None
    email_is_canonical: bool | None
    impersonator: bool

    @classmethod
    def of(cls, user: User, targets: Sequence[TargetModel], *, with_hash: bool = True) -> "UserModel":
        """`with_hash`: not for the user, who has the password."""
        described = describe_hash(user.password_hash) if user.password_hash and with_hash else None
        return cls(
            id=user.id,
            created_at=user.created_at,
            updated_at=user.updated_at,
            name=user.name,
            password=described and described.digest,
            hash=described and described.algorithm,
            hash_options=described and described.options,
            registration=user.created_at,
            status=user.is_enabled,
            labels=user.labels,
            password_update=to_wire(user.password_updated_at) if user.password_updated_at else "",
            email=user.email,
            phone=user.phone,
            email_verification=user.email_verified,
            phone_verification=user.phone_verified,
            mfa=False,
            prefs=user.prefs,
            targets=list(targets),
            accessed_at="",
            # judging addresses needs lists that are not ours to keep
            email_canonical=None,
            email_is_free=None,
            email_is_disposable=None,
            email_is_corporate=None,
            email_is_canonical=None,
            impersonator=False,
        )


class UserList(WireModel):
    total: int
    users: list[UserModel]
