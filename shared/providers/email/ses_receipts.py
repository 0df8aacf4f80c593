"""SES's events, through SNS: signed envelopes, whose certificate is fetched from SNS itself, and confirmations."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from shared.aside import aside
from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.email.http_mail import DELIVERY
from shared.providers.email.receipt_events import check_age, fields_of, parsed, reason_of, seconds_of
from shared.providers.receipts import FetchForbidden, ReceiptCall, ReceiptRefused
from shared.providers.transport import Reply, Request, Transport

# Event -> what it means, and where it lists recipients. Source: docs.aws.amazon.com/ses
# event-publishing-retrieving-sns-contents, read 2026-11. Opens and clicks are nothing we follow.
KINDS: Final[Mapping[str, tuple[ReceiptKind, str, str]]] = {
    "Send": (ReceiptKind.PENDING, "send", ""),
    "DeliveryDelay": (ReceiptKind.PENDING, "deliveryDelay", "delayedRecipients"),
    "Delivery": (ReceiptKind.DELIVERED, "delivery", "recipients"),
    "Reject": (ReceiptKind.FAILED, "reject", ""),  # SES itself did not want it: a virus
    "Rendering Failure": (ReceiptKind.FAILED, "failure", ""),
    "Bounce": (ReceiptKind.FAILED, "bounce", "bouncedRecipients"),  # and dead where `bounceType` is Permanent
    "Complaint": (ReceiptKind.COMPLAINED, "complaint", "complainedRecipients"),
    "Subscription": (ReceiptKind.UNSUBSCRIBED, "subscription", ""),  # where they want nothing of all topics
}

SNS_HOST: Final = re.compile(r"sns\.[a-z]{2}(-[a-z]+)+-\d\.amazonaws\.com")
PLAIN: Final = re.compile(r"[!-~]+")
SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ),
}
"""What the signature covers, by type, in its order; fields that are not there are left out."""

WINDOW_SECONDS: Final = 3600.0
"""The time signed is that of the event, and SNS may try for most of an hour to hand it over. An event that comes again
has the same id."""

MOST_RECIPIENTS: Final = 50
"""Of a mail through SES (docs.aws.amazon.com/ses quotas, read 2026-11)."""

KEPT_CERTIFICATES: Final = 8


class SesReceipts:
    """A `ReceiptReader`. Keeps the certificates it fetched: their addresses name their content."""

    def __init__(self) -> None:
        self._keys: dict[str, rsa.RSAPublicKey] = {}  # by address, oldest first

    async def __call__(
        self, account: Account, call: ReceiptCall, *, transport: Transport | None, endpoint: str | None
    ) -> Sequence[Receipt]:
        """`account.receipts_secret`: the ARN of our topic. Everybody's topics are signed with the same certificate."""
        envelope = fields_of(await aside(parsed, call.body))
        if not account.receipts_secret or envelope.get("TopicArn") != account.receipts_secret:
            raise ReceiptRefused("it is not of the topic that we were told")
        check_age(call, seconds_of(envelope.get("Timestamp")), WINDOW_SECONDS)
        places = _Places(transport, endpoint)
        await self._check_signature(envelope, places)
        if envelope["Type"] == "SubscriptionConfirmation":
            await places.get(str(envelope.get("SubscribeURL") or ""))
            return []
        event = fields_of(await aside(parsed, str(envelope.get("Message") or "")))
        return list(_read(event, str(envelope.get("MessageId") or "")))

    async def _check_signature(self, envelope: Mapping[str, Any], places: "_Places") -> None:
        names = SIGNED.get(str(envelope.get("Type")))
        if names is None:
            raise ReceiptRefused("it is of a type that we do not know")
        text = "".join(f"{name}\n{envelope[name]}\n" for name in names if envelope.get(name) is not None)
        # Version 1 is what topics use that nobody told otherwise; a second text for a given hash is out of reach there.
        digests: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303  # see above
        digest = digests.get(str(envelope.get("SignatureVersion")))
        if digest is None:
            raise ReceiptRefused("its signature is of a version that we do not know")
        key = await self._key_at(str(envelope.get("SigningCertURL") or ""), places)
        try:
            signature = base64.b64decode(str(envelope.get("Signature") or ""), validate=True)
            key.verify(signature, text.encode(), padding.PKCS1v15(), digest)
        except (binascii.Error, ValueError, InvalidSignature) as error:
            raise ReceiptRefused("its signature is not SNS's") from error

    async def _key_at(self, address: str, places: "_Places") -> rsa.RSAPublicKey:
        if address not in self._keys:
            key = _key_in(await places.get(address))
            while len(self._keys) >= KEPT_CERTIFICATES:
                del self._keys[next(iter(self._keys))]
            self._keys[address] = key
        return self._keys[address]


class _Places:
    """Where we go because an envelope says so: to SNS alone, or to what takes its place."""

    def __init__(self, transport: Transport | None, endpoint: str | None) -> None:
        self._transport = transport
        self._endpoint = endpoint

    async def get(self, address: str) -> bytes:
        """Raises ReceiptRefused, FetchForbidden."""
        if self._transport is None:
            raise FetchForbidden
        try:
            place = urlsplit(address if PLAIN.fullmatch(address) else "")
        except ValueError as error:
            raise ReceiptRefused("it names an address that is none") from error
        origin = f"{place.scheme}://{place.netloc}"
        is_sns = place.scheme == "https" and SNS_HOST.fullmatch(place.netloc) is not None
        if not (origin == self._endpoint if self._endpoint else is_sns):
            raise ReceiptRefused("it names an address that is not SNS's")
        path = f"{place.path or '/'}{'?' if place.query else ''}{place.query}"
        exchange = self._transport.exchange(origin, iter([(0, Request(path, (), b"", method="GET"))]))
        answers = [answer async for batch in exchange for _, answer in batch]
        if not isinstance(answers[0], Reply) or answers[0].status != 200:
            raise ReceiptRefused("SNS did not answer")
        return answers[0].body


def _key_in(certificate: bytes) -> rsa.RSAPublicKey:
    try:
        read = x509.load_pem_x509_certificate(certificate)
        key = read.public_key()
    except ValueError as error:
        raise ReceiptRefused("its certificate is not readable") from error
    if not isinstance(key, rsa.RSAPublicKey) or read.not_valid_after_utc < datetime.now(UTC):
        raise ReceiptRefused("its certificate is of another kind, or has expired")
    return key


def _read(event: Mapping[str, Any], message_id: str) -> Iterator[Receipt]:
    """One for each recipient; our mails have one."""
    name = str(event.get("eventType") or event.get("notificationType") or "")
    if name not in KINDS:
        return
    kind, place, listed = KINDS[name]
    said, mail = fields_of(event, place), fields_of(event, "mail")
    if name == "Bounce" and said.get("bounceType") == "Permanent":
        kind = ReceiptKind.BOUNCED
    if name == "Subscription" and not fields_of(said, "newTopicPreferences").get("unsubscribeAll"):
        return
    delivery = fields_of(mail, "tags").get(DELIVERY)
    people = said.get(listed) or mail.get("destination")
    for number, person in enumerate(people[:MOST_RECIPIENTS] if isinstance(people, list) else [""]):
        known = person if isinstance(person, dict) else {"emailAddress": person}
        yield Receipt(
            event_id=f"{message_id}-{number}",
            kind=kind,
            recipient=str(known.get("emailAddress") or ""),
            delivery_id=str(delivery[0]) if isinstance(delivery, list) and delivery else "",
            provider_message_id=str(mail.get("messageId") or ""),
            reason=reason_of(name, said.get("bounceType"), said.get("bounceSubType"), _words_of(said, known)),
            occurred_at=seconds_of(said.get("timestamp") or mail.get("timestamp")),
        )


def _words_of(said: Mapping[str, Any], person: Mapping[str, Any]) -> object:
    names = ("reason", "errorMessage", "delayType", "complaintFeedbackType")
    return person.get("diagnosticCode") or next((said[name] for name in names if said.get(name)), "")


read_receipts = SesReceipts()
