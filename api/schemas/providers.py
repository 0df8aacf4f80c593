"""Provider kinds on the wire (contract §9): each kind is two parameter models and the keys they fill."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.schemas.base import Parameters, StoredModel, WireModel
from api.schemas.values import CustomId, Email, EmptyOrText128, JsonObject, Port, Text, Text128, Text256
from shared.db.models import Provider
from shared.domain.contacts.addresses import is_sender_number

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


class MailgunCreate(EmailProviderCreate):
    api_key: Text | None = None
    domain: Text | None = None
    is_eu_region: Annotated[bool | None, Field(description="Whether the domain lives in Mailgun's EU region")] = None


class MailgunUpdate(EmailProviderUpdate):
    api_key: Text | None = None
    domain: Text | None = None
    is_eu_region: bool | None = None


class EmailKeyCreate(EmailProviderCreate):
    """Sendgrid and Resend."""

    api_key: Text | None = None


class EmailKeyUpdate(EmailProviderUpdate):
    api_key: Text | None = None


class SesCreate(EmailProviderCreate):
    access_key: Text | None = None
    secret_key: Text | None = None
    region: Annotated[Text128 | None, Field(examples=["eu-central-1"])] = None


class SesUpdate(EmailProviderUpdate):
    access_key: Text | None = None
    secret_key: Text | None = None
    region: Text128 | None = None


def _check_sender(text: str) -> str:
    if not is_sender_number(text):
        raise PydanticCustomError("phone", "is not a phone number in international form, such as +12065550100")
    return text


SenderNumber = Annotated[
    str,
    AfterValidator(_check_sender),
    WithJsonSchema({"type": "string", "format": "phone", "pattern": r"^\+[1-9][0-9]{6,14}$"}),
]


class SmsProviderCreate(ProviderCreate):
    sender: Annotated[SenderNumber | None, Field(alias="from")] = None


class SmsProviderUpdate(ProviderUpdate):
    sender: Annotated[Text256 | None, Field(alias="from", description="A number or a name")] = None


class Msg91Create(ProviderCreate):
    template_id: Text | None = None
    sender_id: Text | None = None
    auth_key: Text | None = None


class Msg91Update(ProviderUpdate):
    template_id: Text | None = None
    sender_id: Text | None = None
    auth_key: Text | None = None


class TelesignCreate(SmsProviderCreate):
    customer_id: Text | None = None
    api_key: Text | None = None


class TelesignUpdate(SmsProviderUpdate):
    customer_id: Text | None = None
    api_key: Text | None = None


class TextmagicCreate(SmsProviderCreate):
    username: Text | None = None
    api_key: Text | None = None


class TextmagicUpdate(SmsProviderUpdate):
    username: Text | None = None
    api_key: Text | None = None


class TwilioCreate(SmsProviderCreate):
    account_sid: Text | None = None
    auth_token: Text | None = None


class TwilioUpdate(SmsProviderUpdate):
    account_sid: Text | None = None
    auth_token: Text | None = None


class VonageCreate(SmsProviderCreate):
    api_key: Text | None = None
    api_secret: Text | None = None


class VonageUpdate(SmsProviderUpdate):
    api_key: Text | None = None
    api_secret: Text | None = None


class FcmCreate(ProviderCreate):
    service_account: Annotated[JsonObject | None, Field(alias="serviceAccountJSON")] = None


class FcmUpdate(ProviderUpdate):
    service_account: Annotated[JsonObject | None, Field(alias="serviceAccountJSON")] = None


class ApnsCreate(ProviderCreate):
    auth_key: Annotated[Text | None, Field(description="The content of the .p8 file")] = None
    auth_key_id: Text | None = None
    team_id: Text | None = None
    bundle_id: Text | None = None
    sandbox: bool = False


class ApnsUpdate(ProviderUpdate):
    auth_key: Text | None = None
    auth_key_id: Text | None = None
    team_id: Text | None = None
    bundle_id: Text | None = None
    sandbox: bool | None = None


EMPTY: Final[tuple[object, ...]] = (None, "", {})
"""Values that say nothing. `false` is not among them: a mailgun account is complete outside the EU too."""


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """One row of the contract's table: what a kind stores where, and what it needs before it may be enabled."""

    name: str
    create: type[ProviderCreate]
    update: type[ProviderUpdate]
    credentials: tuple[str, ...]
    options: tuple[str, ...]
    needs: tuple[str, ...]  # credentials and options that must be filled
    needs_at_first: tuple[str, ...] | None = None  # on create; None: the same

    def is_complete(self, credentials: WireObject, options: WireObject, *, is_new: bool = False) -> bool:
        needs = self.needs_at_first if is_new and self.needs_at_first else self.needs
        return all((options | credentials).get(key) not in EMPTY for key in needs)


def _email_kind(
    name: str, create: type[EmailProviderCreate], update: type[EmailProviderUpdate], *credentials: str
) -> ProviderKind:
    needs = (*credentials, "fromEmail")
    return ProviderKind(name, create, update, credentials=credentials, options=EMAIL_OPTIONS, needs=needs)


def _sms_kind(
    name: str, create: type[SmsProviderCreate], update: type[SmsProviderUpdate], *credentials: str
) -> ProviderKind:
    needs = (*credentials, "from")
    return ProviderKind(name, create, update, credentials=credentials, options=("from",), needs=needs)


_APNS_CREDENTIALS = ("authKey", "authKeyId", "teamId", "bundleId")
_MSG91_CREDENTIALS = ("templateId", "senderId", "authKey")

KINDS: Mapping[str, ProviderKind] = {
    kind.name: kind
    for kind in (
        _email_kind("mailgun", MailgunCreate, MailgunUpdate, "apiKey", "domain", "isEuRegion"),
        _email_kind("sendgrid", EmailKeyCreate, EmailKeyUpdate, "apiKey"),
        _email_kind("resend", EmailKeyCreate, EmailKeyUpdate, "apiKey"),
        _email_kind("ses", SesCreate, SesUpdate, "accessKey", "secretKey", "region"),
        ProviderKind(
            "smtp",
            SmtpCreate,
            SmtpUpdate,
            credentials=("host", "port", "username", "password"),
            options=(*EMAIL_OPTIONS, "encryption", "autoTLS", "mailer"),
            needs=("host", "fromEmail"),
        ),
        ProviderKind(
            "msg91",
            Msg91Create,
            Msg91Update,
            credentials=_MSG91_CREDENTIALS,
            options=(),
            needs=_MSG91_CREDENTIALS,
            needs_at_first=("senderId", "authKey"),
        ),
        _sms_kind("telesign", TelesignCreate, TelesignUpdate, "customerId", "apiKey"),
        _sms_kind("textmagic", TextmagicCreate, TextmagicUpdate, "username", "apiKey"),
        _sms_kind("twilio", TwilioCreate, TwilioUpdate, "accountSid", "authToken"),
        _sms_kind("vonage", VonageCreate, VonageUpdate, "apiKey", "apiSecret"),
        ProviderKind(
            "fcm",
            FcmCreate,
            FcmUpdate,
            credentials=("serviceAccountJSON",),
            options=(),
            needs=("serviceAccountJSON",),
        ),
        ProviderKind(
            "apns",
            ApnsCreate,
            ApnsUpdate,
            credentials=_APNS_CREDENTIALS,
            options=("sandbox",),
            needs=_APNS_CREDENTIALS,
        ),
    )
}


def pick(given: ProviderCreate | ProviderUpdate, keys: tuple[str, ...]) -> WireObject:
    """What of the parameters is stored under these keys. An update's empty values mean: leave it."""
    values = given.model_dump(by_alias=True, exclude_none=True)
    if isinstance(given, ProviderUpdate):
        values = {key: value for key, value in values.items() if value not in EMPTY}
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


def unmask(given: Any, stored: Any) -> Any:
    """`given` with what is stored in place of every mask: a client may send back the whole of what it was shown."""
    match given, stored:
        case str(), str():
            return stored if given == MASK else given
        case dict(), dict():
            return {key: unmask(inner, stored.get(key)) for key, inner in given.items()}
        case list(), list() if len(given) == len(stored):
            return [unmask(inner, old) for inner, old in zip(given, stored, strict=True)]
    return given


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
