"""Amazon SES v2: one recipient a call, or up to fifty, each with its own answer."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from shared.domain.outcome import Accepted, AccountFault, Outcome, Retry, Unknown
from shared.providers.contract import Account, SendRequest
from shared.providers.email.http_mail import (
    MEBIBYTE,
    HttpMailAdapter,
    Line,
    address_of,
    document_of,
    find_meaning,
    words_of,
)
from shared.providers.email.letter import Letter, MailRefused
from shared.providers.email.ses_mail import SesMail, bulk_tail, single_tail
from shared.providers.http_adapter import Sunk
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, TROUBLE, UNKNOWN, Meaning
from shared.providers.sigv4 import Signer
from shared.providers.transport import Reply, Request, Transport

USED_UP: Final = Meaning(Retry, 3600.0, "provider")  # of a quota that is counted over the last 24 hours

# What SES says of a call -> what it means; the words are looked for in the error's type and message. Sources: botocore
# 1.44.5 `sesv2/2019-09-27`, docs.aws.amazon.com/ses API errors and quotas, AWS "Common Errors"; read 2026-11.
MEANINGS: Final = (
    Line(429, "", THROTTLED),  # TooManyRequestsException: "Maximum sending rate exceeded."
    Line(None, r"^Throttling", THROTTLED),  # ThrottlingException, with status 400
    Line(None, r"^LimitExceeded|daily message quota", USED_UP),
    Line(None, r"^(AccountSuspended|SendingPaused|MailFromDomainNotVerified)", FAULT),
    Line(None, r"^MessageRejected.*not verified", FAULT),  # the sender; in the sandbox everybody
    Line(None, r"^MessageRejected", REFUSED),  # its content
    Line(None, r"^BadRequest", REFUSED),
    Line(None, r"^NotFound", FAULT),  # a configuration set
    Line(
        None,
        r"^(SignatureDoesNotMatch|InvalidSignature|IncompleteSignature|MissingAuthenticationToken|UnrecognizedClient"
        r"|InvalidClientTokenId|ExpiredToken|RequestExpired|AccessDenied|OptInRequired)",
        FAULT,
    ),
    Line(400, "", REFUSED),
    Line(500, "", UNKNOWN),  # InternalFailure
    Line(503, "", THROTTLED),  # ServiceUnavailable
)

# Of one entry of a bulk call. Source: API_BulkEmailEntryResult, which spells some otherwise than botocore's model.
STATUSES: Final = (
    Line(None, r"^MESSAGE_REJECTED.*not verified", FAULT),
    Line(None, r"^MESSAGE_REJECTED", REFUSED),
    Line(None, r"^INVALID_PARAMETER.*(address|domain)", DEAD),  # the sender's was checked before, for all
    Line(None, r"^INVALID_PARAMETER", REFUSED),
    Line(None, r"^ACCOUNT_THROTTLED", THROTTLED),
    Line(None, r"^ACCOUNT_DAILY_QUOTA_EXCEEDED", USED_UP),
    Line(None, r"^(ACCOUNT_SUSPENDED|ACCOUNT_SENDING_PAUSED|CONFIGURATION_SET_SENDING_PAUSED)", FAULT),
    Line(None, r"^(MAIL_FROM_DOMAIN_NOT_VERIFIED|INVALID_SENDING_POOL_NAME)", FAULT),
    Line(None, r"^(CONFIGURATION_SET|TEMPLATE)_(NOT_FOUND|DOES_NOT_EXIST)", FAULT),
    Line(None, r"^(TRANSIENT_FAILURE|FAILED)", TROUBLE),  # not sent, for no reason that would stay
)

BAD_ADDRESS: Final = re.compile(r"^BadRequest.*(address|domain|@)", re.IGNORECASE)
"""Of a call: perhaps somebody's in it. "Illegal address", "Missing final '@domain'", "Domain ends with dot"."""

ADDRESSES: Final = re.compile(r"""[^\s<>()\[\]"',;:@]+@[^\s<>()\[\]"',;:@]+""")

REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


class SesAdapter(HttpMailAdapter[SesMail]):
    kind: ClassVar[str] = "ses"
    name: ClassVar[str] = "SES"
    needed: ClassVar[tuple[str, ...]] = ("accessKey", "secretKey", "region")
    largest_call: ClassVar[int] = 50
    largest_batch: ClassVar[int] = 500
    batch_size: ClassVar[int] = 500
    in_flight_limit: ClassVar[int] = 2_000
    largest_request_bytes: ClassVar[int] = 40 * MEBIBYTE  # "Maximum message size (including attachments)": after base64

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        super().__init__(account, transport=transport, endpoint=endpoint)
        access, secret, region = (str(account.credentials.get(name)) for name in self.needed)
        self._signer = Signer(access, secret, region, "ses")
        self._host = self.origin.partition("//")[2]  # it is none before the region was checked, see write()

    def address(self) -> str:
        return f"https://email.{self.account.credentials.get('region')}.amazonaws.com"

    def write(self, letter: Letter) -> SesMail:
        if not REGION.fullmatch(self._signer.region):  # it becomes part of a host's name
            raise MailRefused(AccountFault("the provider's region is none of AWS"))
        mail = SesMail(letter)
        self.check_size(max(mail.single.size_bytes, mail.bulk.size_bytes))
        return mail

    def call(self, rendered: SesMail, requests: Sequence[SendRequest]) -> Request:
        if len(requests) == 1:
            path, (body, body_hash) = rendered.single.path, rendered.single.body(single_tail(requests[0]))
        else:
            path, (body, body_hash) = rendered.bulk.path, rendered.bulk.body(bulk_tail(requests))
        signed = self._signer.sign(
            "POST",
            path,
            {"content-type": "application/json", "host": self._host},
            body_hash,
            now=datetime.now(UTC),
        )
        headers = tuple(f"{name}: {value}" for name, value in signed.items() if name != "host")
        return Request(path, headers, body, wanted=("x-amzn-errortype",))

    def read(self, requests: Sequence[SendRequest], reply: Reply) -> Sequence[Outcome] | Outcome | Sunk:
        document = document_of(reply)
        if reply.status == 200:
            return self._read_success(len(requests), reply, document)
        words = _words_of_error(reply, document)
        reason = words_of(self.name, reply, words)
        outcome = find_meaning(MEANINGS, reply.status, words).of(reason, reply.retry_after_seconds)
        if not BAD_ADDRESS.search(words):
            return outcome
        named = {address.rstrip(".") for address in ADDRESSES.findall(words)}
        blamed = {n: DEAD.of(reason) for n, request in enumerate(requests) if address_of(request) in named}
        return Sunk(outcome, blamed)

    def _read_success(self, count: int, reply: Reply, document: Mapping[str, Any]) -> Sequence[Outcome] | Outcome:
        results = document.get("BulkEmailEntryResults") if count > 1 else [{"Status": "SUCCESS", **document}]
        if not isinstance(results, list) or len(results) != count:
            return Unknown(words_of(self.name, reply, "something else than a result for each recipient"))
        return [self._read_entry(result) for result in results]

    def _read_entry(self, result: Any) -> Outcome:
        entry = result if isinstance(result, dict) else {}
        status, message_id = str(entry.get("Status") or ""), entry.get("MessageId")
        if status == "SUCCESS":
            return Accepted(message_id) if isinstance(message_id, str) else Unknown("SES named no id of the mail")
        words = f"{status}: {entry.get('Error') or ''}"
        meaning = next((line.meaning for line in STATUSES if re.search(line.words, words, re.IGNORECASE)), UNKNOWN)
        return meaning.of(f"SES answered {words}"[:300])


def _words_of_error(reply: Reply, document: Mapping[str, Any]) -> str:
    """Its type and its message; the type may have a namespace before it or an address behind."""
    named = reply.headers.get("x-amzn-errortype") or str(document.get("__type") or document.get("code") or "")
    text = document.get("message") or document.get("Message") or ""
    kind = named.partition(":")[0].rpartition("#")[2]
    return f"{kind}: {text}" if kind or text else ""
