"""Firebase Cloud Messaging, HTTP v1: one request for each token."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import quote

from shared.domain.outcome import Accepted, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.providers.contract import Account, Content, SendRequest, TokenStore
from shared.providers.meanings import (
    DEAD,
    FAULT,
    REFUSED,
    UNKNOWN,
    Meaning,
    meaning_of_status,
    outcome_of_failure,
)
from shared.providers.push.adapter import PushAdapter
from shared.providers.push.fcm_message import PAYLOAD_LIMIT_BYTES, FcmMessage
from shared.providers.push.google_token import GoogleToken, read_service_account
from shared.providers.transport import Failure, Pool, Reply, Request, Transport

ADDRESS: Final = "https://fcm.googleapis.com"

POOL: Final = Pool(connections=10, streams=100, is_http2=True)  # 100 is what Google announces

BAD_ADDRESS: Final = "bad registration token"
BAD_FIELD: Final = "bad field"

# docs/cloud-messaging/scale-fcm: a minute where a 429 names no Retry-After, ten seconds at least from 5xx
QUOTA: Final = Meaning(Retry, after_seconds=60.0, scope="provider")
OVERLOAD: Final = Meaning(Retry, after_seconds=10.0, scope="provider")
OTHER_SENDER: Final = Meaning(DeadAddress, is_suspicious=True)  # many of them mean that the project is the wrong one

# What FCM says -> what it means. Source: firebase.google.com docs/reference/fcm/rest/v1/ErrorCode and
# docs/cloud-messaging/error-codes, read 2026-11. The second key is FcmError's `errorCode`, else the error's `status`,
# else "" for any.
MEANINGS: Final[Mapping[tuple[int, str], Meaning | None]] = {
    (400, BAD_ADDRESS): DEAD,  # "The registration token is not a valid FCM registration token"
    (400, BAD_FIELD): REFUSED,  # google.rpc.BadRequest: a field of the message
    (400, ""): REFUSED,  # INVALID_ARGUMENT: the message, its size
    (401, "THIRD_PARTY_AUTH_ERROR"): FAULT,  # "APNs certificate or web push auth key was invalid or missing"
    (401, "APNS_AUTH_ERROR"): FAULT,  # its older name
    (401, ""): None,  # UNAUTHENTICATED: with a new access token once more, then an account fault
    (403, "SENDER_ID_MISMATCH"): OTHER_SENDER,  # "The authenticated sender ID is different from ... for the token"
    (403, ""): FAULT,  # PERMISSION_DENIED: the API is off, or the role is missing
    (404, "UNREGISTERED"): DEAD,  # "App instance was unregistered from FCM"
    (404, ""): FAULT,  # no such project, or not FCM that answered
    (429, ""): QUOTA,  # QUOTA_EXCEEDED, RESOURCE_EXHAUSTED
    (500, ""): Meaning(Retry, after_seconds=10.0),  # INTERNAL
    (502, ""): UNKNOWN,  # a gateway that lost the answer
    (503, ""): OVERLOAD,  # UNAVAILABLE: "The server is overloaded"
    (504, ""): UNKNOWN,
}
"""None: the access token is stale."""


class FcmAdapter(PushAdapter[FcmMessage]):
    """Sends with the account's OAuth token; 600,000 messages a minute is Google's quota for a project."""

    kind: ClassVar[str] = "fcm"

    def __init__(
        self, account: Account, *, transport: Transport, token_store: TokenStore, endpoint: str | None = None
    ) -> None:
        """`endpoint`: an origin that takes Google's place, for sending and for access tokens."""
        super().__init__(account, transport=transport, endpoint=endpoint, address=ADDRESS, pool=POOL)
        self._token = GoogleToken(account, token_store, transport, purpose=self.kind, endpoint=endpoint)
        self._path = ""  # known with the first token

    def render(self, content: Content) -> FcmMessage | Refused:
        message = FcmMessage(content, time.time())
        if message.payload_bytes > PAYLOAD_LIMIT_BYTES:
            return Refused(f"notification and data take {message.payload_bytes} bytes, FCM allows 4096")
        return message

    async def token(self, stale: str | None) -> str:
        project = read_service_account(self._account)["project_id"]
        self._path = f"/v1/projects/{quote(project, safe='')}/messages:send"
        return await (self._token.current() if stale is None else self._token.renewed(stale))

    def posts(
        self, message: FcmMessage, token: str, requests: Sequence[SendRequest], indexes: Sequence[int]
    ) -> Iterator[tuple[int, Request]]:
        path = self._path
        headers = (f"authorization: Bearer {token}", "content-type: application/json; charset=UTF-8")
        return ((index, Request(path, headers, message.body_for(requests[index]))) for index in indexes)

    def read(self, _request: SendRequest, answer: Reply | Failure) -> Outcome | None:
        return read_answer(answer)


def read_answer(answer: Reply | Failure) -> Outcome | None:
    """What became of one request; None: the access token was not accepted."""
    if isinstance(answer, Failure):
        return outcome_of_failure(answer)
    if answer.status == 200:
        return _read_acceptance(answer)
    code, text = _read_error(answer)
    default = MEANINGS.get((answer.status, ""), meaning_of_status(answer.status))
    meaning = MEANINGS.get((answer.status, code), default)
    if meaning is None:
        return None
    if code == "UNREGISTERED":
        return DeadAddress("Expired device token")  # the words Appwrite's clients know
    return meaning.of(f"FCM answered {answer.status} {code}: {text}", answer.retry_after_seconds)


def _read_acceptance(reply: Reply) -> Outcome:
    """`{"name": "projects/p/messages/0:123"}`: the last part is the message's id."""
    try:
        name: str = json.loads(reply.body)["name"]
        return Accepted(name.rpartition("/")[2])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Unknown("FCM answered 200 without the name of a message")


def _read_error(reply: Reply) -> tuple[str, str]:
    """The code to look up and the provider's own words. An answer in another shape (HTML, cut) has no code."""
    try:
        error = json.loads(reply.body)["error"]
        details = {detail["@type"].rpartition(".")[2]: detail for detail in error.get("details", ())}
        text = str(error.get("message", ""))[:300]
        return _code_of(error, details, text), text
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", "not an answer of FCM's API"


def _code_of(error: Mapping[str, Any], details: Mapping[str, Mapping[str, Any]], text: str) -> str:
    """FCM tells a bad token from a bad message by the field it names; without one, by nothing but its text."""
    if "BadRequest" in details:
        fields = {violation.get("field") for violation in details["BadRequest"].get("fieldViolations", ())}
        return BAD_ADDRESS if fields & {"message.token", "message.fid"} else BAD_FIELD
    code = str(details.get("FcmError", {}).get("errorCode") or error.get("status", ""))
    return BAD_ADDRESS if code == "INVALID_ARGUMENT" and "registration token" in text else code
