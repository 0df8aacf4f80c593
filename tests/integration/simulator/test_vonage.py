import asyncio
import base64
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pycurl
import pytest
from vonage_http_client.auth import Auth

from shared.simulator.faults import Fate
from shared.simulator.simulator import Simulator
from shared.simulator.vonage_message import Message
from shared.simulator.vonage_receipts import ReceiptForm, Signing, delivery_receipts, signature_of
from tests.integration.simulator.clients import HttpAnswer, http

FIELDS = {"to": "12025550123", "from": "ACME", "text": "Your code is 4711", "client-ref": "1-7"}


@pytest.fixture
def account(simulator: Simulator) -> dict[str, Any]:
    return dict(simulator.http_providers["vonage"].credentials())


async def send(
    simulator: Simulator, account: dict[str, Any], fields: dict[str, str], *, authorization: str | None = None
) -> HttpAnswer:
    login = base64.b64encode(f"{account['apiKey']}:{account['apiSecret']}".encode()).decode()
    headers = {"authorization": f"Basic {login}" if authorization is None else authorization}
    return await asyncio.to_thread(
        http,
        "POST",
        f"{simulator.https_endpoint}/sms/json",
        body=urlencode(fields).encode(),
        headers={name: value for name, value in headers.items() if value},
        ca_file=simulator.ca_file,
    )


def statuses(answer: HttpAnswer) -> list[str]:
    assert answer.json["message-count"] == str(len(answer.json["messages"]))
    return [part["status"] for part in answer.json["messages"]]


async def test_takes_a_message(simulator: Simulator, account: dict[str, Any]) -> None:
    answer = await send(simulator, account, FIELDS)

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    (part,) = answer.json["messages"]
    assert all(isinstance(value, str) for value in part.values())
    assert (part["to"], part["status"], part["client-ref"]) == ("12025550123", "0", "1-7")
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    assert (line["provider"], line["recipient"], line["message"]) == ("vonage", "+12025550123", part["message-id"])
    assert (line["text"], line["sender"], line["delivery"]) == ("Your code is 4711", "ACME", "1-7")


@pytest.mark.parametrize(
    ("text", "kind", "arrives"),
    [
        ("x" * 160, "text", ("x" * 160, 1)),
        ("x" * 161, "text", ("x" * 161, 2)),
        ("😀 and “x”", "text", ("? and ?x?", 1)),
        ("“x”", "unicode", ("“x”", 1)),
        ("“" * 71, "unicode", ("“" * 71, 2)),
        ("x" * 71, "unicode", ("x" * 71, 2)),
    ],
)
async def test_the_type_decides_what_arrives(
    simulator: Simulator, account: dict[str, Any], text: str, kind: str, arrives: tuple[str, int]
) -> None:
    answer = await send(simulator, account, {**FIELDS, "text": text, "type": kind})

    parts = statuses(answer)
    assert set(parts) == {"0"}
    assert len({part["message-id"] for part in answer.json["messages"]}) == len(parts)
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    assert (line["text"], len(parts)) == arrives


async def test_ways_to_prove_who_asks(simulator: Simulator, account: dict[str, Any]) -> None:
    secret = simulator.http_providers["vonage"].receipts_secret
    keyed = {**FIELDS, "api_key": account["apiKey"]}
    both = {**keyed, "api_secret": account["apiSecret"]}
    signed = {**keyed, "timestamp": "1795334400"}
    signed["sig"] = Auth(api_key="x", signature_secret=secret, signature_method="sha256").sign_params(dict(signed))

    tries: list[tuple[dict[str, str], str | None]] = [
        (FIELDS, None),
        (both, ""),
        (signed, ""),
        (FIELDS, ""),
        (FIELDS, "Basic eDp5"),
        ({**both, "api_secret": "x"}, ""),
        ({**signed, "text": "Another"}, ""),
        ({**signed, "api_secret": account["apiSecret"]}, ""),
    ]
    answers = [await send(simulator, account, fields, authorization=login) for fields, login in tries]

    assert [statuses(answer) for answer in answers] == [["0"], ["0"], ["0"], ["4"], ["4"], ["4"], ["14"], ["32"]]
    assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"to": ""}, "2"),
        ({"from": ""}, "2"),
        ({"text": ""}, "2"),
        ({"to": "+12025550123"}, "3"),
        ({"to": "0012025550123"}, "3"),
        ({"type": "binary"}, "3"),
        ({"ttl": "19999"}, "3"),
        ({"ttl": "604800001"}, "3"),
        ({"ttl": "9" * 5000}, "3"),
        ({"client-ref": "x" * 101}, "3"),
        ({"text": "x" * 3201}, "12"),
        ({"callback": "https://" + "x" * 93}, "23"),
        ({"callback": "example.com"}, "23"),
    ],
)
async def test_checks_each_field(
    simulator: Simulator, account: dict[str, Any], fields: dict[str, str], status: str
) -> None:
    assert statuses(await send(simulator, account, {**FIELDS, **fields})) == [status]
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("0190", ["33", "33"]),
        ("0191", ["17", "17"]),
        ("0192", ["1", "0"]),
        ("0195", ["1", "0"]),
        ("0196", ["0", "0"]),
        ("0197", ["0", "0"]),
        ("0198", ["15", "15"]),
    ],
)
async def test_magic_numbers(simulator: Simulator, account: dict[str, Any], ending: str, expected: list[str]) -> None:
    answers = [await send(simulator, account, {**FIELDS, "to": f"1202555{ending}"}) for _ in range(2)]

    assert [status for answer in answers for status in statuses(answer)] == expected
    words = answers[0].json["messages"][0].get("error-text", "")
    assert ("please wait [ 1000 ]" in words, "MAX [ 30 ]" in words) == (ending == "0192", ending == "0195")


@pytest.mark.parametrize(
    ("trouble", "status", "content_type"),
    [
        ("status 5", 200, "application/json"),
        ("HTML", 200, "text/html; charset=UTF-8"),
        ("500", 500, "application/problem+json"),
        ("503", 503, "application/problem+json"),
    ],
)
async def test_server_troubles(
    simulator: Simulator, account: dict[str, Any], trouble: str, status: int, content_type: str
) -> None:
    simulator.faults.set("vonage", server_troubles=[trouble])

    answer = await send(simulator, account, {**FIELDS, "to": "12025550199"})

    assert (answer.status, answer.headers["content-type"]) == (status, content_type)
    assert list(simulator.record.entries()) == []


async def test_a_dropped_reply_is_on_record(simulator: Simulator, account: dict[str, Any]) -> None:
    with pytest.raises(pycurl.error):
        await send(simulator, account, {**FIELDS, "to": "12025550194"})

    assert [entry.recipient for entry in simulator.record.entries()] == ["+12025550194"]


async def test_the_limit_is_said_in_words(simulator: Simulator, account: dict[str, Any]) -> None:
    simulator.faults.set("vonage", limit_messages=1, limit_seconds=600, retry_after_seconds=None)

    answers = [await send(simulator, account, FIELDS) for _ in range(2)]

    assert [statuses(answer) for answer in answers] == [["0"], ["1"]]
    assert answers[1].json["messages"][0]["error-text"].startswith("Exceeded maximum MT throughput")


@pytest.mark.parametrize(
    ("fate", "last"),
    [
        (Fate.ACCEPTED, ("delivered", "0")),
        (Fate.UNDELIVERED, ("failed", "1")),
        (Fate.OPTED_OUT, ("rejected", "9")),
    ],
)
def test_a_receipt_for_each_part_and_step(fate: Fate, last: tuple[str, str]) -> None:
    receipts = list(delivery_receipts(Message(FIELDS, fate), ["A", "B"], account="key"))

    told = [(receipt.fields["messageId"], receipt.fields["status"], receipt.fields["err-code"]) for receipt in receipts]
    assert told == [("A", "accepted", "0"), ("B", "accepted", "0"), ("A", *last), ("B", *last)]
    assert {(receipt.fields["client-ref"], receipt.fields["msisdn"]) for receipt in receipts} == {
        ("1-7", "12025550123")
    }


@pytest.mark.parametrize("form", ["query", "form", "json"])
@pytest.mark.parametrize("signing", ["md5", "sha1", "sha256", "sha512"])
def test_receipts_are_signed_as_the_package_checks(form: ReceiptForm, signing: Signing) -> None:
    receipt = next(delivery_receipts(Message({**FIELDS, "from": "A&B=C"}, Fate.ACCEPTED), ["A"], account="key"))

    call = receipt.call("https://example.com/r", form, "s3cret", signing)

    if form == "json":
        posted = json.loads(call.body)
    else:
        posted = dict(parse_qsl(urlsplit(call.url).query or call.body.decode()))
    assert call.method == ("GET" if form == "query" else "POST")
    assert Auth(api_key="x", signature_secret="s3cret", signature_method=signing).check_signature(posted)


def test_the_first_way_of_signing_puts_the_secret_behind() -> None:
    """MD5 of "&a=1&b=x_y_z" and the secret, by md5sum."""
    expected = "be4885da14c3982741261f2f671b62c2"
    assert signature_of({"b": "x&y=z", "a": "1", "sig": "not this"}, "s3cret", "hash") == expected


def test_an_unsigned_receipt_says_nothing_of_signing() -> None:
    receipt = next(delivery_receipts(Message(FIELDS, Fate.ACCEPTED), ["A"], account="key"))

    assert receipt.fields.keys() & {"sig", "nonce", "timestamp"} == set()
    assert receipt.call("https://example.com/r?x=1", "query", "s3cret", "none").url.startswith(
        "https://example.com/r?x=1&"
    )
