"""Simulated mailers that are called over HTTP, as their documents have them: limits, refusals, copies, receipts."""

import asyncio
import base64
import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pycurl
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.domain.receipt import ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.registry import RECEIPT_READERS
from shared.simulator.mailer import News
from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import HttpAnswer, http
from tests.integration.simulator.receipt_desk import receipt_desk

ANNA, OTTO, DEAD = "anna@example.com", "otto@example.com", "dead@example.com"
FILE = {"content": base64.b64encode(b"picture").decode(), "filename": "logo.png"}


async def post(
    simulator: Simulator, path: str, body: bytes, headers: Mapping[str, str], *, seconds: float = 5.0
) -> HttpAnswer:
    """Header names with underscores for hyphens."""
    return await asyncio.to_thread(
        http,
        "POST",
        f"{simulator.https_endpoint}{path}",
        body=body,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        ca_file=simulator.ca_file,
        timeout=seconds,
    )


def lines(simulator: Simulator) -> dict[str, dict[str, Any]]:
    """The record by recipient."""
    read = [simulator.record.read(entry.n) for entry in simulator.record.entries()]
    return {line["recipient"]: line for line in read if line}


def shown_to(line: Mapping[str, Any]) -> str:
    return str(dict(line["headers"]).get("To", ""))


# SendGrid


async def sendgrid(simulator: Simulator, document: Any, **headers: str) -> HttpAnswer:
    key = simulator.http_providers["sendgrid"].credentials()["apiKey"]
    known = {"authorization": f"Bearer {key}", "content_type": "application/json"}
    return await post(simulator, "/v3/mail/send", json.dumps(document).encode(), {**known, **headers})


def for_sendgrid(*people: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "from": {"email": "news@example.com", "name": "News"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Hello"}],
        "personalizations": list(people),
        **more,
    }


def person(address: str, **more: Any) -> dict[str, Any]:
    return {"to": [{"email": address}], **more}


async def test_sendgrid_takes_a_call_as_a_whole(simulator: Simulator) -> None:
    cc = [{"email": OTTO}]
    document = for_sendgrid(person(ANNA, cc=cc, custom_args={"tidings_delivery": "17-1"}), attachments=[FILE])

    answer = await sendgrid(simulator, document)

    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["x-ratelimit-limit"]
    found = lines(simulator)
    assert found.keys() == {ANNA, OTTO}
    assert found[ANNA]["message"] == found[OTTO]["message"] == answer.headers["x-message-id"]
    assert found[ANNA]["attachments"] == [
        {"name": "logo.png", "content_type": "application/octet-stream", "size": len(b"picture")}
    ]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (for_sendgrid(person("nobody")), "personalizations.0.to.0.email"),
        (for_sendgrid(person(ANNA), person(DEAD)), "personalizations.1.to.0.email"),
        (for_sendgrid(person(ANNA), person(ANNA.upper())), "personalizations"),
        (for_sendgrid(*(person(f"{n}@example.com") for n in range(1_001))), "personalizations"),
        (for_sendgrid({"cc": [{"email": ANNA}]}), "personalizations.0.to"),
        (for_sendgrid(), "personalizations"),
        (for_sendgrid(person(ANNA, custom_args={"a": "x" * 10_000})), "personalizations.0.custom_args"),
        (for_sendgrid(person(ANNA), **{"from": {"email": ""}}), "from.email"),
        (for_sendgrid(person(ANNA), subject=""), "subject"),
        (for_sendgrid(person(ANNA), content=[{"type": "text/plain", "value": ""}]), "content.0.value"),
        (for_sendgrid(person(ANNA), content=[]), "content"),
        (for_sendgrid(person(ANNA), headers={"Subject": "x"}), "headers.Subject"),
        (for_sendgrid(person(ANNA), attachments=[{"content": "%", "filename": "x"}]), "attachments.0.content"),
        (for_sendgrid(person(ANNA), attachments=7), "attachments"),
        ([], None),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_sendgrid_names_the_field_that_is_wrong(simulator: Simulator, document: Any, field: str | None) -> None:
    answer = await sendgrid(simulator, document)

    assert (answer.status, answer.json["errors"][0]["field"]) == (400, field)
    assert lines(simulator) == {}


async def test_sendgrid_checks_key_acceptance_and_size(simulator: Simulator) -> None:
    document = for_sendgrid(person(ANNA))

    assert (await sendgrid(simulator, document, authorization="Bearer another")).status == 401
    assert (await sendgrid(simulator, document, accept="text/html")).status == 406
    large = for_sendgrid(person(ANNA), subject="x" * 30 * 1024**2)
    assert (await sendgrid(simulator, large)).status == 413
    sandbox = {"mail_settings": {"sandbox_mode": {"enable": True}}}
    assert (await sendgrid(simulator, for_sendgrid(person(ANNA), **sandbox))).status == 200
    assert lines(simulator) == {}


# Mailgun


async def mailgun(simulator: Simulator, body: bytes, *, domain: str = "", **headers: str) -> HttpAnswer:
    known = simulator.http_providers["mailgun"].credentials()
    login = base64.b64encode(f"api:{known['apiKey']}".encode()).decode()
    kind = {"content_type": "application/x-www-form-urlencoded", "authorization": f"Basic {login}"}
    return await post(simulator, f"/v3/{domain or known['domain']}/messages", body, {**kind, **headers})


def for_mailgun(*to: str, **more: str) -> bytes:
    fields = [("from", "News <news@example.com>"), ("subject", "Hello %recipient.name%"), ("text", "Hello")]
    return urlencode([*fields, *(("to", address) for address in to), *more.items()]).encode()


async def test_mailgun_shows_everybody_to_everybody_without_variables(simulator: Simulator) -> None:
    assert (await mailgun(simulator, for_mailgun(ANNA, f"Otto <{OTTO}>"))).json["message"] == "Queued. Thank you."

    assert {shown_to(line) for line in lines(simulator).values()} == {f"{ANNA}, Otto <{OTTO}>"}


async def test_mailgun_fills_in_what_is_known_of_each(simulator: Simulator) -> None:
    variables = {ANNA: {"name": "Anna"}, OTTO: {}}

    await mailgun(simulator, for_mailgun(f"{ANNA},{OTTO}", **{"recipient-variables": json.dumps(variables)}))

    found = lines(simulator)
    assert [found[address]["title"] for address in (ANNA, OTTO)] == ["Hello Anna", "Hello %recipient.name%"]
    assert [shown_to(found[address]) for address in (ANNA, OTTO)] == [ANNA, OTTO]


async def test_mailgun_drops_a_file_without_a_name(simulator: Simulator) -> None:
    parts = [
        'name="from"\r\n\r\nnews@example.com',
        f'name="to"\r\n\r\n{ANNA}',
        'name="text"\r\n\r\nHello',
        'name="attachment"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\none',
        'name="attachment"\r\nContent-Type: text/plain\r\n\r\ntwo',
    ]
    body = "".join(f"--x\r\nContent-Disposition: form-data; {part}\r\n" for part in parts) + "--x--\r\n"

    answer = await mailgun(simulator, body.encode(), content_type="multipart/form-data; boundary=x")

    assert answer.status == 200
    assert [file["name"] for file in lines(simulator)[ANNA]["attachments"]] == ["a.txt"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (for_mailgun(ANNA, "nobody"), "'to' parameter"),
        (for_mailgun(ANNA, DEAD), "'to' parameter"),
        (for_mailgun(), "'to' parameter"),
        (urlencode({"to": ANNA, "text": "x"}).encode(), "'from' parameter"),
        (urlencode({"from": ANNA, "to": ANNA}).encode(), "'text' or 'html'"),
        (for_mailgun(*(f"{n}@example.com" for n in range(1_001))), "1000"),
        (for_mailgun(ANNA, **{"h:X-A": "x" * 16_384}), "16 kB"),
        (for_mailgun(ANNA, **{"recipient-variables": "{"}), "not JSON"),
        (for_mailgun(ANNA, **{"recipient-variables": "[7]"}), "object"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_mailgun_refuses_the_whole_call(simulator: Simulator, body: bytes, words: str) -> None:
    answer = await mailgun(simulator, body)

    assert answer.status == 400
    assert words in answer.json["message"]
    assert lines(simulator) == {}


async def test_mailgun_checks_key_domain_and_size(simulator: Simulator) -> None:
    forbidden = await mailgun(simulator, for_mailgun(ANNA), authorization="Basic eA==")
    assert (forbidden.status, forbidden.body) == (401, b"Forbidden")
    assert (await mailgun(simulator, for_mailgun(ANNA), domain="another.example.com")).status == 404
    assert (await mailgun(simulator, b"{}", content_type="application/json")).status == 400
    assert (await mailgun(simulator, for_mailgun(ANNA, html="x" * 25 * 1024**2))).status == 413
    throttled = await mailgun(simulator, for_mailgun("throttled@example.com"))
    assert throttled.status == 420
    assert throttled.json["message"].endswith("GMT")


# Resend


async def resend(
    simulator: Simulator, document: Any, *, batch: bool = False, seconds: float = 5.0, **headers: str
) -> HttpAnswer:
    key = simulator.http_providers["resend"].credentials()["apiKey"]
    known = {"authorization": f"Bearer {key}", "content_type": "application/json", "user_agent": "a test"}
    path = "/emails/batch" if batch else "/emails"
    return await post(simulator, path, json.dumps(document).encode(), {**known, **headers}, seconds=seconds)


def for_resend(to: Any, **more: Any) -> dict[str, Any]:
    return {"from": "News <news@example.com>", "to": to, "subject": "Hello", "text": "Hello", **more}


async def test_resend_makes_what_it_can_of_a_permissive_batch(simulator: Simulator) -> None:
    mails = [for_resend([ANNA]), for_resend(["nobody"]), for_resend([DEAD]), for_resend(OTTO)]

    strict = await resend(simulator, mails, batch=True)
    permissive = await resend(simulator, mails, batch=True, x_batch_validation="permissive")

    assert (strict.status, strict.json["name"]) == (422, "validation_error")
    assert [error["index"] for error in permissive.json["errors"]] == [1, 2]
    assert [mail["id"] for mail in permissive.json["data"]] == [lines(simulator)[to]["message"] for to in (ANNA, OTTO)]


async def test_resend_recognises_a_call(simulator: Simulator) -> None:
    key, mail = uuid.uuid4().hex, for_resend([ANNA])

    first = await resend(simulator, mail, idempotency_key=key)
    again = await resend(simulator, mail, idempotency_key=key)
    other = await resend(simulator, for_resend([OTTO]), idempotency_key=key)

    assert first.json == again.json
    assert (other.status, other.json["name"]) == (409, "invalid_idempotent_request")
    assert simulator.record.tallies["resend"].captured == 1


async def test_resend_does_not_answer_a_call_twice_at_once(simulator: Simulator) -> None:
    key, mail = uuid.uuid4().hex, for_resend(["slow@example.com"])
    simulator.faults.set("resend", slow_seconds=5.0)
    with pytest.raises(pycurl.error):
        await resend(simulator, mail, seconds=0.2, idempotency_key=key)

    again = await resend(simulator, mail, idempotency_key=key)

    assert (again.status, again.json["name"]) == (409, "concurrent_idempotent_requests")


async def test_resend_loses_files_in_silence(simulator: Simulator) -> None:
    """Of a batch all; of a single mail with a type that its name does not have, the mail."""
    await resend(simulator, [for_resend([ANNA], attachments=[FILE])], batch=True)
    lost = await resend(simulator, for_resend([OTTO], attachments=[{**FILE, "content_type": "text/plain"}]))

    assert lines(simulator)[ANNA]["attachments"] == []
    assert lost.json["id"]
    assert OTTO not in lines(simulator)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (for_resend([]), "`to`"),
        (for_resend([f"{n}@example.com" for n in range(51)]), "`to`"),
        (for_resend([7]), "`to`"),
        (for_resend([ANNA], **{"from": "nobody"}), "`from`"),
        (for_resend([ANNA], cc="nobody"), "`cc`"),
        (for_resend([ANNA], subject=None), "`subject`"),
        (for_resend([ANNA], text=""), "`html` or `text`"),
        (for_resend([ANNA], tags=[{"name": "a b", "value": "c"}]), "Tags"),
        (for_resend([ANNA], tags=[7]), "Tags"),
        (for_resend([ANNA], attachments=[{"filename": "x", "content": "%"}]), "base64"),
        (for_resend([ANNA], attachments=[{"filename": "x", "content": "QUFB" * 10 * 1024**2 + "QUFB"}]), "40 MB"),
        ([], "object"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_resend_says_what_is_wrong_with_a_mail(simulator: Simulator, document: Any, words: str) -> None:
    answer = await resend(simulator, document)

    assert answer.status == 422
    assert words in answer.json["message"]
    assert lines(simulator) == {}


async def test_resend_checks_key_agent_and_count(simulator: Simulator) -> None:
    mail = for_resend([ANNA])

    assert (await resend(simulator, mail, authorization="")).json["name"] == "missing_api_key"
    assert (await resend(simulator, mail, authorization="Bearer x")).json["name"] == "invalid_api_key"
    assert (await resend(simulator, mail, user_agent="")).body == b"error code: 1010"
    assert (await resend(simulator, [mail] * 101, batch=True)).status == 422
    assert lines(simulator) == {}


# SES


async def ses(simulator: Simulator, path: str, document: Any, **altered: str) -> HttpAnswer:
    known = {**simulator.http_providers["ses"].credentials(), **altered}
    body = json.dumps(document).encode()
    request = AWSRequest("POST", f"{simulator.https_endpoint}{path}", {"Content-Type": "application/json"}, body)
    credentials = Credentials(known["accessKey"], known["secretKey"])
    SigV4Auth(credentials, "ses", known["region"]).add_auth(request)
    headers = {name: known.get(name, value) for name, value in request.headers.items()}
    return await post(simulator, path, body, headers)


SINGLE, BULK = "/v2/email/outbound-emails", "/v2/email/outbound-bulk-emails"


def for_ses(**destination: list[str]) -> dict[str, Any]:
    simple = {"Subject": {"Data": "Hello"}, "Body": {"Text": {"Data": "Hello"}}}
    return {"FromEmailAddress": ANNA, "Destination": destination, "Content": {"Simple": simple}}


def bulk(*addresses: str, subject: str = "Hello {{name}}", own: str = '{"name":"you"}') -> dict[str, Any]:
    template = {"TemplateContent": {"Subject": subject, "Text": "Hello"}, "TemplateData": '{"name":"all"}'}
    content = {"ReplacementTemplate": {"ReplacementTemplateData": own}}
    entries = [{"Destination": {"ToAddresses": [to]}, "ReplacementEmailContent": content} for to in addresses]
    return {"FromEmailAddress": ANNA, "DefaultContent": {"Template": template}, "BulkEmailEntries": entries}


async def test_ses_has_a_status_for_each_entry(simulator: Simulator) -> None:
    addresses = (ANNA, DEAD, "throttled@example.com", "flaky@example.com", "nobody", OTTO)

    results = (await ses(simulator, BULK, bulk(*addresses))).json["BulkEmailEntryResults"]

    assert [result["Status"] for result in results] == [
        "SUCCESS",
        "INVALID_PARAMETER",
        "ACCOUNT_THROTTLED",
        "TRANSIENT_FAILURE",
        "INVALID_PARAMETER",
        "SUCCESS",
    ]
    found = lines(simulator)
    assert {to: line["message"] for to, line in found.items()} == {
        ANNA: results[0]["MessageId"],
        OTTO: results[5]["MessageId"],
    }
    assert found[ANNA]["title"] == "Hello you"


async def test_ses_shows_to_and_cc_and_hides_bcc(simulator: Simulator) -> None:
    answer = await ses(simulator, SINGLE, for_ses(ToAddresses=[ANNA], CcAddresses=[OTTO], BccAddresses=["b@x.example"]))

    assert answer.json["MessageId"]
    found = lines(simulator)
    assert found.keys() == {ANNA, OTTO, "b@x.example"}
    assert {json.dumps(line["headers"]) for line in found.values()} == {
        json.dumps([["From", ANNA], ["To", ANNA], ["Cc", OTTO], ["Subject", "Hello"]])
    }


@pytest.mark.parametrize(
    ("altered", "kind"),
    [
        ({"secretKey": "another"}, "SignatureDoesNotMatch"),
        ({"accessKey": "AKIAANOTHER"}, "UnrecognizedClientException"),
        ({"region": "us-east-1"}, "InvalidSignatureException"),
        ({"Authorization": ""}, "MissingAuthenticationTokenException"),
        ({"Content-Type": "text/plain"}, "SignatureDoesNotMatch"),
        ({"X-Amz-Date": "20200101T000000Z"}, "InvalidSignatureException"),
    ],
    ids=str,
)
async def test_ses_computes_the_signature_again(simulator: Simulator, altered: dict[str, str], kind: str) -> None:
    answer = await ses(simulator, SINGLE, for_ses(ToAddresses=[ANNA]), **altered)

    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, kind)
    assert lines(simulator) == {}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (BULK, bulk(*[ANNA] * 51)),
        (BULK, bulk()),
        (BULK, bulk(ANNA, subject="{{#if name}}x{{/if}}")),
        (BULK, bulk(ANNA, subject="{{{name}}}")),
        (SINGLE, for_ses()),
        (SINGLE, for_ses(ToAddresses=["nobody"])),
        (SINGLE, for_ses(ToAddresses=[f"{n}@example.com" for n in range(51)])),
        (SINGLE, {**for_ses(ToAddresses=[ANNA]), "FromEmailAddress": "Jörg <a@example.com>"}),
        (SINGLE, {**for_ses(ToAddresses=[ANNA]), "EmailTags": [{"Name": "a b", "Value": "c"}]}),
        (SINGLE, {**for_ses(ToAddresses=[ANNA]), "FromEmailAddress": []}),
        (SINGLE, {**for_ses(ToAddresses=[ANNA]), "Content": {}}),
        (SINGLE, []),
    ],
)
async def test_ses_refuses_what_it_cannot_take(simulator: Simulator, path: str, document: Any) -> None:
    answer = await ses(simulator, path, document)

    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "BadRequestException")
    assert lines(simulator) == {}


# receipts

SENDERS = {
    "sendgrid": lambda simulator, to: sendgrid(simulator, for_sendgrid(person(to))),
    "mailgun": lambda simulator, to: mailgun(simulator, for_mailgun(to)),
    "resend": lambda simulator, to: resend(simulator, for_resend([to])),
    "ses": lambda simulator, to: ses(simulator, SINGLE, for_ses(ToAddresses=[to])),
}


@pytest.mark.parametrize("kind", SENDERS)
@pytest.mark.parametrize(("word", "news"), [("anna", News.DELIVERED), ("bounced", News.BOUNCED)])
async def test_a_mail_has_a_signed_receipt(simulator: Simulator, kind: str, word: str, news: News) -> None:
    """Read by our readers; SES's goes for the certificate to the simulator, and confirms the subscription first."""
    provider = simulator.http_providers[kind]
    transport = CurlTransport(timeout_seconds=5, ca_file=simulator.ca_file)
    account = Account(1, 1, provider.credentials(), receipts_secret=provider.receipts_secret)
    async with receipt_desk() as desk:
        provider.receipts_url = desk.url
        await SENDERS[kind](simulator, f"{word}@example.com")
        calls = await desk.arrival(2 if kind == "ses" else 1)
        provider.receipts_url = ""
        reader = RECEIPT_READERS[kind]
        receipts = [
            receipt
            for call in calls
            for receipt in await reader(account, call, transport=transport, endpoint=simulator.https_endpoint)
        ]
    await transport.aclose()

    assert [(receipt.kind, receipt.recipient) for receipt in receipts] == [(ReceiptKind(news), f"{word}@example.com")]
    assert receipts[0].provider_message_id == lines(simulator)[f"{word}@example.com"]["message"]
