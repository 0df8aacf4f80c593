"""Apple Push Notification service: one HTTP/2 stream for each device."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import ClassVar, Final

from shared.domain.outcome import Accepted, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.providers.contract import Account, Content, CredentialsRefused, SendRequest
from shared.providers.meanings import (
    DEAD,
    FAULT,
    REFUSED,
    TROUBLE,
    Meaning,
    meaning_of_status,
    outcome_of_failure,
)
from shared.providers.push.adapter import PushAdapter
from shared.providers.push.apns_message import ApnsMessage, render_message
from shared.providers.push.apns_token import ProviderToken
from shared.providers.transport import Failure, Pool, Reply, Request, Transport

PRODUCTION: Final = "https://api.push.apple.com"
SANDBOX: Final = "https://api.sandbox.push.apple.com"

STALE_TOKEN: Final = "ExpiredProviderToken"  # noqa: S105  # Apple's word, no secret

APPLES_TROUBLE: Final = Meaning(Retry, after_seconds=900.0)  # statuses 5xx: to be tried again after 15 minutes
KEY_THROTTLED: Final = Meaning(Retry, after_seconds=300.0, scope="provider")  # is over within 20 minutes
WRONG_PLACE: Final = Meaning(DeadAddress, is_suspicious=True)
OTHER_APP: Final = Meaning(Refused, is_suspicious=True)

# The `reason` of Apple's answer -> what it means. Source: developer.apple.com, "Handling notification responses from
# APNs", read 2026-11.
MEANINGS: Final[Mapping[str, Meaning]] = {
    # 400
    "BadDeviceToken": WRONG_PLACE,  # malformed, or of the other environment: sandbox or production
    "DeviceTokenNotForTopic": OTHER_APP,  # a device's, but of an app with another bundle id
    "MissingDeviceToken": REFUSED,
    "BadCollapseId": REFUSED,
    "BadExpirationDate": REFUSED,
    "BadMessageId": REFUSED,
    "BadPriority": REFUSED,
    "DuplicateHeaders": REFUSED,
    "InvalidPushType": REFUSED,
    "PayloadEmpty": REFUSED,
    "BadTopic": FAULT,
    "MissingTopic": FAULT,
    "TopicDisallowed": FAULT,  # the key may not push to this bundle id
    "IdleTimeout": TROUBLE,
    # 403
    "BadCertificate": FAULT,
    "BadCertificateEnvironment": FAULT,
    "BadEnvironmentKeyIdInToken": FAULT,  # the key is one of the other environment
    "BadEnvironmentKeyInToken": FAULT,  # the same, as it was seen on the wire
    "Forbidden": FAULT,
    "InvalidProviderToken": FAULT,  # unreadable, or not signed by the key it names
    "MissingProviderToken": FAULT,
    "UnrelatedKeyIdInToken": FAULT,  # another key than the connection's first push
    # 404 and 405 with a reason: a request of ours that Apple does not know
    "BadPath": REFUSED,
    "MethodNotAllowed": REFUSED,
    # 410
    "Unregistered": DEAD,
    "ExpiredToken": DEAD,
    # 413
    "PayloadTooLarge": REFUSED,
    # 429
    "TooManyRequests": TROUBLE,  # for this device, in a row
    "TooManyProviderTokenUpdates": KEY_THROTTLED,  # more often than every 20 minutes
    # 500 and 503
    "InternalServerError": APPLES_TROUBLE,
    "ServiceUnavailable": Meaning(Retry, after_seconds=900.0, scope="provider"),
    "Shutdown": TROUBLE,  # of this server: the next connection leads to another one
}

# "Establishing a connection to APNs", read 2026-11: one stream until a push with a provider token was taken, then as
# many as the server says; 1,000 were seen. Several connections are allowed, for throughput.
POOL: Final = Pool(connections=2, streams=1_000, is_careful=True, is_http2=True)

DEVICE_TOKEN: Final = re.compile(r"[0-9A-Fa-f]{1,200}")  # 64 digits today; Apple wants nobody to rely on it
NO_TOKEN: Final = Refused("the address is no device token of APNs: those are hexadecimal")
LONGEST_ID: Final = 100
"""Characters of a key's and a team's; Apple's have 10. They stand in every request."""

BUNDLE_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,255}")


class ApnsAdapter(PushAdapter[ApnsMessage]):
    kind: ClassVar[str] = "apns"

    def __init__(
        self,
        account: Account,
        *,
        transport: Transport,
        endpoint: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`endpoint`: an origin that takes the place of Apple's, in both environments."""
        super().__init__(
            account,
            transport=transport,
            endpoint=endpoint,
            address=SANDBOX if account.options.get("sandbox") else PRODUCTION,
            # a connection belongs to the signing key of its first push
            pool=POOL._replace(bound_to=f"{account.credentials.get('teamId')} {account.credentials.get('authKeyId')}"),
        )
        self._token = ProviderToken(account, now)

    def render(self, content: Content) -> ApnsMessage | Refused:
        return render_message(content)

    def refusal_of(self, request: SendRequest) -> Refused | None:
        return None if DEVICE_TOKEN.fullmatch(request.identifier) else NO_TOKEN

    async def token(self, stale: str | None) -> str:
        for name in ("authKey", "authKeyId", "teamId", "bundleId"):
            if not isinstance(self._account.credentials.get(name), str) or not self._account.credentials[name]:
                raise CredentialsRefused(f"the provider has no {name}")
        for name in ("authKeyId", "teamId"):
            if len(self._account.credentials[name]) > LONGEST_ID:
                raise CredentialsRefused(f"the provider's {name} has more than {LONGEST_ID} characters")
        if not BUNDLE_ID.fullmatch(self._account.credentials["bundleId"]):
            raise CredentialsRefused("bundleId is not the id of an app: letters, digits, hyphens and dots")
        return self._token.current() if stale is None else self._token.younger_than(stale)

    def posts(
        self, message: ApnsMessage, token: str, requests: Sequence[SendRequest], indexes: Sequence[int]
    ) -> Iterator[tuple[int, Request]]:
        headers = (
            f"authorization: bearer {token}",
            f"apns-topic: {self._account.credentials['bundleId']}",
            *message.headers,
        )
        payload = message.payload
        own_headers = 1 if message.is_tagged else 2
        for index in indexes:
            request = requests[index]
            delivery_id = request.delivery_id
            own = (f"apns-id: {apns_id_of(delivery_id)}", f"apns-collapse-id: {delivery_id}")
            yield index, Request(f"/3/device/{request.identifier}", headers, payload, own=own[:own_headers])

    def read(self, request: SendRequest, answer: Reply | Failure) -> Outcome | None:
        if isinstance(answer, Failure):
            return outcome_of_failure(answer)
        if answer.status == 200:
            if answer.body:
                return Unknown("APNs answered 200 with a body, which it never does")
            return Accepted(apns_id_of(request.delivery_id))
        reason = _reason_of(answer)
        if reason == STALE_TOKEN:
            return None
        meaning = MEANINGS.get(reason) or meaning_of_status(answer.status)
        if meaning is DEAD:
            return DeadAddress("Expired device token")  # the words Appwrite's clients know
        return meaning.of(f"APNs answered {answer.status} {reason}", answer.retry_after_seconds)


def apns_id_of(delivery_id: str) -> str:
    """A UUID (RFC 9562, version 8) that a copy has too."""
    digits = blake2b(delivery_id.encode(), digest_size=16).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def _reason_of(reply: Reply) -> str:
    """Empty for an answer that is not of APNs' shape."""
    try:
        reason = json.loads(reply.body)["reason"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(reason)[:100]
