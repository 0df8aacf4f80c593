"""Our requests to Amazon SES beside those that botocore 1.44.5 makes of AWS's own description of the API."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from shared.domain.outcome import Accepted, AccountFault, Refused, Retry
from shared.providers.contract import Account, SendRequest
from shared.providers.curl import CurlTransport
from shared.providers.email.ses import SesAdapter
from shared.providers.sigv4 import Signer
from shared.simulator.keyring import Keyring
from shared.simulator.record import Record
from shared.simulator.ses import Ses
from shared.simulator.wire.exchange import Reply, Request
from tests.contract.differential.capture import Capture, capturing
from tests.contract.mail_wire import PICTURE
from tests.contract.smtp_wire import email
from tests.contract.suite import collect

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"
OPTIONS = {"fromEmail": "news@example.com", "fromName": "News, daily", "replyToEmail": "desk@example.com"}

DIFFERENT = {
    "authorization",  # its signature is over the date
    "x-amz-date",
    "user-agent",  # who asks
}
"""Headers that both send, compared apart or not at all."""

THEIRS = {
    "accept-encoding",  # an answer is a few kilobytes at most
    "amz-sdk-invocation-id",  # for AWS's support
    "amz-sdk-request",  # which try of how many: we make one
}
"""Headers that only the package sends."""

OURS = {"accept"}
"""Headers that only we send; libcurl's: anything."""


def take(request: Request) -> Reply:
    entries = json.loads(request.body).get("BulkEmailEntries", [])
    results = [{"Status": "SUCCESS", "MessageId": f"id-{number}"} for number in range(len(entries))]
    return Reply(200, json.dumps({"BulkEmailEntryResults": results} if results else {"MessageId": "id"}).encode())


@pytest.fixture
async def server() -> AsyncIterator[Capture]:
    async with capturing(take) as capture:
        yield capture


@pytest.fixture(scope="module")
def session() -> Any:
    return botocore.session.Session()


def client(session: Any, endpoint: str, access: str = ACCESS, secret: str = SECRET) -> Any:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5, proxies={})
    return session.create_client(
        "sesv2",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=config,
    )


def requests(count: int) -> list[SendRequest]:
    return [SendRequest(f"17-{number}", f"person.{number}@example.com") for number in range(count)]


async def send_ours(server: Capture, asked: Sequence[SendRequest], *, files: bool) -> Sequence[Any]:
    transport = CurlTransport(timeout_seconds=5)
    account = Account(1, 1, {"accessKey": ACCESS, "secretKey": SECRET, "region": REGION}, OPTIONS)
    adapter = SesAdapter(account, transport=transport, endpoint=f"http://{server.host}")
    said = email("Grüße", "<p>50 % für 😀</p>", html=True, attachments=[{"bucketId": "b", "fileId": "f"}] * files)
    outcomes = await collect(adapter, replace(said, files=(PICTURE,) * files), asked)
    await transport.aclose()
    return outcomes


def attachments(*, files: bool) -> dict[str, Any]:
    if not files:
        return {}
    file = {
        "RawContent": PICTURE.content,
        "FileName": PICTURE.name,
        "ContentType": PICTURE.mime_type,
        "ContentDisposition": "ATTACHMENT",
        "ContentTransferEncoding": "BASE64",
    }
    return {"Attachments": [file]}


SHARED = {
    "FromEmailAddress": '"News, daily" <news@example.com>',
    "ReplyToAddresses": ['"News, daily" <desk@example.com>'],
}
TEXT, HTML = "50 % für 😀\n", "<p>50 % für 😀</p>"


def single(*, files: bool) -> dict[str, Any]:
    def data(text: str) -> dict[str, str]:
        return {"Data": text, "Charset": "UTF-8"}

    simple = {"Subject": data("Grüße"), "Body": {"Text": data(TEXT), "Html": data(HTML)}, **attachments(files=files)}
    return {
        **SHARED,
        "Content": {"Simple": simple},
        "Destination": {"ToAddresses": ["person.0@example.com"]},
        "EmailTags": [{"Name": "tidings_delivery", "Value": "17-0"}],
    }


def bulk(count: int, *, files: bool) -> dict[str, Any]:
    template = {
        "TemplateContent": {"Subject": "Grüße", "Text": TEXT, "Html": HTML},
        "TemplateData": '{"open":"{","close":"}","back":"\\\\"}',
        **attachments(files=files),
    }
    entries = [
        {
            "Destination": {"ToAddresses": [request.identifier]},
            "ReplacementTags": [{"Name": "tidings_delivery", "Value": request.delivery_id}],
        }
        for request in requests(count)
    ]
    return {**SHARED, "DefaultContent": {"Template": template}, "BulkEmailEntries": entries}


def headers_of(request: Request, without: set[str]) -> dict[str, str]:
    names = {name.decode() for name in request.headers} - without - {"content-length"}
    return {name: request.header(name.encode()) for name in names}


def signed_headers(request: Request) -> set[str]:
    fields = request.header(b"authorization").partition("SignedHeaders=")[2].partition(",")[0]
    return set(fields.split(";"))


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("count", [1, 3])
async def test_asks_as_botocore_does(server: Capture, session: Any, count: int, files: bool) -> None:  # noqa: FBT001
    theirs_client = client(session, f"http://{server.host}")
    call = theirs_client.send_email if count == 1 else theirs_client.send_bulk_email
    fields = single(files=files) if count == 1 else bulk(count, files=files)

    outcomes = await send_ours(server, requests(count), files=files)
    answer = await asyncio.to_thread(lambda: call(**fields))

    ours, theirs = server.requests
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    assert json.loads(ours.body) == json.loads(theirs.body)
    assert headers_of(ours, OURS | DIFFERENT) == headers_of(theirs, THEIRS | DIFFERENT)
    assert signed_headers(ours) == signed_headers(theirs)
    ids = [result["MessageId"] for result in answer.get("BulkEmailEntryResults", [answer])]
    assert outcomes == [Accepted(message_id) for message_id in ids]


@pytest.mark.parametrize(
    ("path", "query"), [("/v2/email/outbound-emails", ""), ("/", "Action=x&Version=2010-03-31"), ("/a-b_c~d", "")]
)
@pytest.mark.parametrize("body", [b"", b'{"a":1}', "Grüße".encode()])
def test_signs_as_botocore_does(path: str, query: str, body: bytes) -> None:
    """Its own signature, computed again by ours for the date that it chose."""
    request = AWSRequest(
        method="POST",
        url=f"https://email.{REGION}.amazonaws.com{path}{'?' * bool(query)}{query}",
        headers={"content-type": "application/json", "host": f"email.{REGION}.amazonaws.com", "x-amz-meta": " a  b "},
        data=body,
    )
    SigV4Auth(Credentials(ACCESS, SECRET), "ses", REGION).add_auth(request)
    date = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    ours = Signer(ACCESS, SECRET, REGION, "ses").sign(
        "POST",
        path,
        {"content-type": "application/json", "host": f"email.{REGION}.amazonaws.com", "x-amz-meta": " a  b "},
        sha256(body).hexdigest(),
        now=date,
        query=query,
    )

    assert ours["authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (429, "TooManyRequestsException", Retry),
        (400, "MessageRejected", Refused),
        (400, "AccountSuspendedException", AccountFault),
    ],
)
async def test_reads_errors_as_botocore_does(
    server: Capture, session: Any, status: int, kind: str, outcome: type
) -> None:
    server.reply = lambda _request: Reply(
        status, b'{"message":"what SES says"}', headers=((b"x-amzn-errortype", f"{kind}:http://x/".encode()),)
    )

    (answered,) = await send_ours(server, requests(1), files=False)
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(lambda: client(session, f"http://{server.host}").send_email(**single(files=False)))

    assert isinstance(answered, outcome)
    error = caught.value.response["Error"]
    assert f"{error['Code']}: {error['Message']}" in str(answered)


async def test_the_simulator_believes_botocores_signature_and_no_other(session: Any, tmp_path: Any) -> None:
    simulated = Ses(Record(tmp_path / "record.jsonl"), Keyring(tmp_path / "accounts.key"))
    account = simulated.credentials()

    async with capturing(lambda request: simulated.answer(request) or Reply(404)) as server:
        right = client(session, f"http://{server.host}", account["accessKey"], account["secretKey"])
        wrong = client(session, f"http://{server.host}", account["accessKey"], "another")
        answer = await asyncio.to_thread(lambda: right.send_bulk_email(**bulk(2, files=True)))
        quota = await asyncio.to_thread(right.get_account)
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            await asyncio.to_thread(lambda: wrong.send_email(**single(files=False)))

    assert [result["Status"] for result in answer["BulkEmailEntryResults"]] == ["SUCCESS"] * 2
    assert quota["SendQuota"]["SentLast24Hours"] == 2
