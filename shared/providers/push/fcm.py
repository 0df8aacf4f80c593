"""Firebase Cloud Messaging, HTTP v1: one request for each token."""

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Final
from urllib.parse import quote

from shared.domain.outcome import (
    Accepted,
    AccountFault,
    DeadAddress,
    Outcome,
    Refused,
    Retry,
    Unknown,
    UnknownRule,
)
from shared.domain.status import Channel
from shared.providers.contract import (
    Account,
    Content,
    CredentialsRefused,
    SendRequest,
    TokenStore,
    TokenUnavailable,
)
from shared.providers.push.fcm_message import PAYLOAD_LIMIT_BYTES, FcmMessage
from shared.providers.push.google_token import GoogleToken, read_service_account
from shared.providers.renderings import Renderings
from shared.providers.transport import Failure, Reply, Request, Transport

ADDRESS: Final = "https://fcm.googleapis.com"

QUOTA_DELAY_SECONDS: Final = 60.0  # docs/cloud-messaging/scale-fcm: where a 429 names no Retry-After
TROUBLE_DELAY_SECONDS: Final = 10.0  # the same page: back off at least ten seconds from 5xx

BAD_ADDRESS: Final = "bad registration token"
BAD_FIELD: Final = "bad field"

Meaning = type[Retry | Refused | DeadAddress | AccountFault | Unknown]

# What FCM says -> what it means. Source: firebase.google.com docs/reference/fcm/rest/v1/ErrorCode and
# docs/cloud-messaging/error-codes, read 2026-11. The second key is FcmError's `errorCode`, else the error's `status`,
# else "" for any. A mismatch of senders in the mass means the wrong project, so it never expires a target.
MEANINGS: Final[Mapping[tuple[int, str], Meaning | None]] = {
    (400, BAD_ADDRESS): DeadAddress,  # "The registration token is not a valid FCM registration token"
    (400, BAD_FIELD): Refused,  # google.rpc.BadRequest: a field of the message
    (400, ""): Refused,  # INVALID_ARGUMENT: the message, its size
    (401, "THIRD_PARTY_AUTH_ERROR"): AccountFault,  # "APNs certificate or web push auth key was invalid or missing"
    (401, "APNS_AUTH_ERROR"): AccountFault,  # its older name
    (401, ""): None,  # UNAUTHENTICATED: with a new access token once more, then an account fault
    (403, "SENDER_ID_MISMATCH"): Refused,  # "The authenticated sender ID is different from the sender ID for the token"
    (403, ""): AccountFault,  # PERMISSION_DENIED: the API is off, or the role is missing
    (404, "UNREGISTERED"): DeadAddress,  # "App instance was unregistered from FCM"
    (404, ""): AccountFault,  # no such project, or not FCM that answered
    (429, ""): Retry,  # QUOTA_EXCEEDED, RESOURCE_EXHAUSTED
    (500, ""): Retry,  # INTERNAL
    (502, ""): Unknown,  # a gateway that lost the answer
    (503, ""): Retry,  # UNAVAILABLE: "The server is overloaded"
    (504, ""): Unknown,
}
"""None: the access token is stale. Other 3xx are an account fault (not FCM's address), 4xx refused, 5xx unknown."""


class FcmAdapter:
    """Sends with the account's OAuth token; 600,000 messages a minute is Google's quota for a project."""

    kind: ClassVar[str] = "fcm"
    channel: ClassVar[Channel] = Channel.PUSH
    largest_batch: ClassVar[int] = 5_000
    batch_size: ClassVar[int] = 2_000
    in_flight_limit: ClassVar[int] = 1_000
    unknown_rule: ClassVar[UnknownRule] = UnknownRule.RESEND  # a copy carries the same tag and collapse id
    has_receipts: ClassVar[bool] = False

    def __init__(
        self, account: Account, *, transport: Transport, token_store: TokenStore, endpoint: str | None = None
    ) -> None:
        """`endpoint`: an origin that takes Google's place, for sending and for access tokens."""
        self._account = account
        self._transport = transport
        self._origin = endpoint or ADDRESS
        self._token = GoogleToken(account, token_store, transport, purpose=self.kind, endpoint=endpoint)
        self._messages = Renderings[FcmMessage](lambda content: FcmMessage(content, time.time()))

    async def send(self, content: Content, requests: Sequence[SendRequest]) -> AsyncIterator[tuple[int, Outcome]]:
        message = self._messages.of(content)
        if message.payload_bytes > PAYLOAD_LIMIT_BYTES:
            too_large = Refused(f"notification and data take {message.payload_bytes} bytes, FCM allows 4096")
            for index in range(len(requests)):
                yield index, too_large
            return
        indexes: Sequence[int] = range(len(requests))
        stale: str | None = None
        while indexes:
            try:
                path = self._path()
                token = await (self._token.current() if stale is None else self._token.renewed(stale))
            except (CredentialsRefused, TokenUnavailable) as error:
                for index in indexes:
                    yield index, _without_token(error)
                return
            unauthenticated: list[int] = []
            bodies = ((index, message.body_for(requests[index])) for index in indexes)
            async with aclosing(self._transport.exchange(self._origin, _posts(path, token, bodies))) as batches:
                async for batch in batches:
                    for index, answer in batch:
                        outcome = read_answer(answer)
                        if outcome is not None:
                            yield index, outcome
                        elif stale is None:
                            unauthenticated.append(index)
                        else:
                            yield index, AccountFault("FCM does not take the account's fresh access token")
            indexes, stale = unauthenticated, token

    async def aclose(self) -> None:
        """The connections are the transport's; other accounts use them too."""

    def _path(self) -> str:
        project = read_service_account(self._account)["project_id"]
        return f"/v1/projects/{quote(project, safe='')}/messages:send"


def _posts(path: str, token: str, bodies: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, Request]]:
    headers = (f"authorization: Bearer {token}", "content-type: application/json; charset=UTF-8")
    return ((index, Request(path, headers, body)) for index, body in bodies)


def _without_token(error: CredentialsRefused | TokenUnavailable) -> Outcome:
    if isinstance(error, CredentialsRefused):
        return AccountFault(str(error))
    return Retry(str(error), TROUBLE_DELAY_SECONDS, scope="provider")


def read_answer(answer: Reply | Failure) -> Outcome | None:
    """What became of one request; None: the access token was not accepted."""
    if isinstance(answer, Failure):
        return Retry(answer.reason, scope="provider") if answer.never_left else Unknown(answer.reason)
    if answer.status == 200:
        return _read_acceptance(answer)
    code, text = _read_error(answer)
    reason = f"FCM answered {answer.status} {code}: {text}"
    default: Meaning = AccountFault if answer.status < 400 else Refused if answer.status < 500 else Unknown
    meaning = MEANINGS.get((answer.status, code), MEANINGS.get((answer.status, ""), default))
    if meaning is None:
        return None
    if meaning is Retry:
        return _retry(answer, reason)
    if code == "UNREGISTERED":
        reason = "Expired device token"  # the words Appwrite's clients know
    return meaning(reason)


def _retry(answer: Reply, reason: str) -> Retry:
    default = QUOTA_DELAY_SECONDS if answer.status == 429 else TROUBLE_DELAY_SECONDS
    return Retry(
        reason,
        default if answer.retry_after_seconds is None else answer.retry_after_seconds,
        scope="recipient" if answer.status == 500 else "provider",
    )


def _read_acceptance(reply: Reply) -> Outcome:
    """`{"name": "projects/p/messages/0:123"}`: the last part is the message's id."""
    try:
        name: str = json.loads(reply.body)["name"]
        return Accepted(name.rpartition("/")[2])
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unknown("FCM answered 200 without the name of a message")


def _read_error(reply: Reply) -> tuple[str, str]:
    """The code to look up and the provider's own words. An answer in another shape (HTML, cut) has no code."""
    try:
        error = json.loads(reply.body)["error"]
        details = {detail["@type"].rpartition(".")[2]: detail for detail in error.get("details", ())}
        text = str(error.get("message", ""))[:300]
        return _code_of(error, details, text), text
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", "not an answer of FCM's API"


def _code_of(error: Mapping[str, Any], details: Mapping[str, Mapping[str, Any]], text: str) -> str:
    """FCM tells a bad token from a bad message by the field it names; without one, by nothing but its text."""
    if "BadRequest" in details:
        fields = {violation.get("field") for violation in details["BadRequest"].get("fieldViolations", ())}
        return BAD_ADDRESS if fields & {"message.token", "message.fid"} else BAD_FIELD
    code = str(details.get("FcmError", {}).get("errorCode") or error.get("status", ""))
    return BAD_ADDRESS if code == "INVALID_ARGUMENT" and "registration token" in text else code
