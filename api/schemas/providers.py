"""Provider kinds on the wire (contract §9): each kind is two parameter models and the keys they fill."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import Parameters, StoredModel, WireModel
from api.schemas.values import CustomId, Email, EmptyOrText128, JsonObject, Port, Text, Text128
from shared.db.models import Provider

WireObject = dict[str, Any]
"""Credentials or options: wire names and values, as stored and as answered."""


class ProviderCreate(Parameters):
    provider_id: CustomId
    name: Text128
    enabled: Annotated[bool | None, Field(description="Only true where the credentials are complete")] = None


class ProviderUpdate(Parameters):
    name: Text128 | None = None
    enabled: bool | None = None


class EmailProviderCreate(ProviderCreate):
    from_name: EmptyOrText128 = ""
    from_email: Email = ""
    reply_to_name: EmptyOrText128 = ""
    reply_to_email: Email = ""


class EmailProviderUpdate(ProviderUpdate):
    from_name: EmptyOrText128 | None = None
    from_email: Email | None = None
    reply_to_name: EmptyOrText128 | None = None
    reply_to_email: Text128 | None = None


EMAIL_OPTIONS = ("fromName", "fromEmail", "replyToName", "replyToEmail")

Encryption = Literal["none", "ssl", "tls"]


class SmtpCreate(EmailProviderCreate):
    host: Annotated[Text, Field(description="One host or several: `smtp1.example.com;tls://smtp2.example.com:587`")]
    port: Port = 587
    username: Text = ""
    password: Text = ""
    encryption: Encryption = "none"
    auto_tls: Annotated[bool, Field(alias="autoTLS")] = True
    mailer: Text = ""


class SmtpUpdate(EmailProviderUpdate):
    host: Text | None = None
    port: Port | None = None
    username: Text | None = None
    password: Text | None = None
    encryption: Encryption | None = None
    auto_tls: Annotated[bool | None, Field(alias="autoTLS")] = None
    mailer: Text | None = None


class FcmCreate(ProviderCreate):
    service_account: Annotated[JsonObject | None, Field(alias="serviceAccountJSON")] = None


class FcmUpdate(ProviderUpdate):
    service_account: Annotated[JsonObject | None, Field(alias="serviceAccountJSON")] = None


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """One row of the contract's table: what a kind stores where, and what it needs before it may be enabled."""

    name: str
    create: type[ProviderCreate]
    update: type[ProviderUpdate]
    credentials: tuple[str, ...]
    options: tuple[str, ...]
    needs: tuple[str, ...]  # credentials and options that must be filled

    def is_complete(self, credentials: WireObject, options: WireObject) -> bool:
        return all(credentials.get(key) or options.get(key) for key in self.needs)


KINDS: Mapping[str, ProviderKind] = {
    kind.name: kind
    for kind in (
        ProviderKind(
            "smtp",
            SmtpCreate,
            SmtpUpdate,
            credentials=("host", "port", "username", "password"),
            options=(*EMAIL_OPTIONS, "encryption", "autoTLS", "mailer"),
            needs=("host", "fromEmail"),
        ),
        ProviderKind(
            "fcm",
            FcmCreate,
            FcmUpdate,
            credentials=("serviceAccountJSON",),
            options=(),
            needs=("serviceAccountJSON",),
        ),
    )
}


def pick(given: ProviderCreate | ProviderUpdate, keys: tuple[str, ...]) -> WireObject:
    """What of the parameters is stored under these keys. An update's empty values mean: leave it."""
    values = given.model_dump(by_alias=True, exclude_none=True)
    if isinstance(given, ProviderUpdate):
        values = {key: value for key, value in values.items() if value not in ("", {})}
    if values.get("encryption") == "none":
        values["encryption"] = ""
    return {key: values[key] for key in keys if key in values}


MASK = "********"


def mask(value: Any) -> Any:
    """Texts replaced, also those inside; numbers and booleans are no secrets."""
    match value:
        case str():
            return MASK if value else ""
        case dict():
            return {key: mask(inner) for key, inner in value.items()}
        case list():
            return [mask(inner) for inner in value]
    return value


class ProviderModel(StoredModel):
    name: str
    provider: str
    enabled: bool
    type: Literal["email", "sms", "push"]
    credentials: WireObject
    options: WireObject

    @classmethod
    def of(cls, provider: Provider, credentials: WireObject) -> "ProviderModel":
        return cls.model_validate(
            {
                "id": provider.id,
                "created_at": provider.created_at,
                "updated_at": provider.updated_at,
                "name": provider.name,
                "provider": provider.kind,
                "enabled": provider.enabled,
                "type": provider.channel,
                "credentials": credentials,
                "options": provider.options,
            }
        )


class ProviderList(WireModel):
    total: int
    providers: list[ProviderModel]
