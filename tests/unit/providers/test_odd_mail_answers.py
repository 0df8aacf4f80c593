"""Whatever a mailer answers or posts, its adapter has an outcome for everybody and its reader says yes or no."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.domain.receipt import Receipt
from shared.providers.contract import Account, SendRequest
from shared.providers.email import mailgun_receipts, resend_receipts, sendgrid_receipts, ses_receipts
from shared.providers.email.http_mail import HttpMailAdapter
from shared.providers.email.mailgun import MailgunAdapter
from shared.providers.email.receipt_events import fields_of, parsed
from shared.providers.email.resend import ResendAdapter
from shared.providers.email.sendgrid import SendgridAdapter
from shared.providers.email.ses import SesAdapter
from shared.providers.http_adapter import Sunk
from shared.providers.receipts import ReceiptRefused
from shared.providers.transport import Reply
from shared.simulator.sns import TOPIC
from tests.odd_documents import variants_of
from tests.unit.providers import test_mailgun_receipts, test_resend_receipts, test_sendgrid_receipts, test_ses_receipts
from tests.unit.providers.mail_receipts import NOWHERE

OUTCOMES = (Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown)


def can_be_stored(text: object) -> bool:
    return isinstance(text, str) and text == text.replace("\0", "").encode(errors="replace").decode()


def texts_of(outcome: Outcome) -> list[str]:
    return [outcome.provider_message_id if isinstance(outcome, Accepted) else outcome.reason]


ANSWERS: tuple[tuple[type[HttpMailAdapter[Any]], Any], ...] = (
    (SendgridAdapter, {"errors": [{"message": "no", "field": "personalizations.1.to.0.email", "help": None}]}),
    (MailgunAdapter, {"id": "<1@mg.example.com>", "message": "Queued."}),
    (ResendAdapter, {"data": [{"id": "1"}, {"id": "2"}], "errors": [{"index": 1, "message": "no"}]}),
    (ResendAdapter, {"statusCode": 422, "name": "validation_error", "message": "Invalid `to` field."}),
    (SesAdapter, {"BulkEmailEntryResults": [{"Status": "SUCCESS", "MessageId": "1"}] * 2 + [{"Status": "FAILED"}]}),
    (SesAdapter, {"message": "no", "__type": "BadRequestException"}),
)


@pytest.mark.parametrize(("kind", "document"), ANSWERS)
@pytest.mark.parametrize("status", [200, 202, 400, 422, 429, 500])
def test_every_answer_has_a_meaning_for_everybody(kind: type[HttpMailAdapter[Any]], document: Any, status: int) -> None:
    adapter = kind(Account(1, 1, {"apiKey": "key", "domain": "mg.example.com", "region": "x"}), transport=NOWHERE)
    for variant in variants_of(document):
        for count in (1, 3):
            requests = [SendRequest(f"17-{number}", f"person.{number}@example.com") for number in range(count)]
            read = adapter.read(requests, Reply(status, json.dumps(variant).encode()))
            if isinstance(read, Sunk):
                outcomes, calls = read.split(tuple(range(count)))
                told = [*outcomes, *(index for call in calls for index in call)]
                assert sorted(told) == list(range(count))
            else:
                outcomes_of = list(read) if isinstance(read, Sequence) else [read] * count
                assert len(outcomes_of) == count
                assert all(isinstance(outcome, OUTCOMES) for outcome in outcomes_of)
                assert all(can_be_stored(text) for outcome in outcomes_of for text in texts_of(outcome))


@pytest.mark.parametrize("kind", [SendgridAdapter, MailgunAdapter, ResendAdapter, SesAdapter])
@pytest.mark.parametrize(
    "body", [b"", b"[" * 60_000, b"\xff\xfe", b"<html>", b'{"a":'], ids=lambda body: repr(body[:8])
)
def test_what_is_no_json_is_no_mail(kind: type[HttpMailAdapter[Any]], body: bytes) -> None:
    adapter = kind(Account(1, 1, {"apiKey": "key", "domain": "mg.example.com", "region": "x"}), transport=NOWHERE)

    assert isinstance(adapter.read([SendRequest("17-0", "a@example.com")] * 2, Reply(200, body)), Unknown)
    assert isinstance(adapter.read([SendRequest("17-0", "a@example.com")] * 2, Reply(418, body)), Refused)


def test_no_place_is_counted_from_the_end() -> None:
    adapter = ResendAdapter(Account(1, 1, {"apiKey": "key"}), transport=NOWHERE)
    body = b'{"data":[{"id":"1"}],"errors":[{"index":-1,"message":"Invalid `to` field."}]}'

    read = adapter.read([SendRequest("17-0", "a@example.com"), SendRequest("17-1", "b@example.com")], Reply(200, body))

    assert isinstance(read, Unknown)


def check(receipts: Sequence[Receipt]) -> None:
    for receipt in receipts:
        texts = (receipt.event_id, receipt.recipient, receipt.delivery_id, receipt.provider_message_id, receipt.reason)
        assert all(can_be_stored(text) for text in texts)
        assert isinstance(receipt.occurred_at, float)


async def test_sendgrids_events_are_read_or_left_out() -> None:
    for event in variants_of(test_sendgrid_receipts.event("bounce", type="bounce", reason="no")):
        check(await test_sendgrid_receipts.read(test_sendgrid_receipts.signed([event])))


async def test_mailguns_events_are_read_or_left_out() -> None:
    status = {"code": 550, "message": "5.1.1 no", "enhanced-code": "5.1.1"}
    failed = test_mailgun_receipts.event("failed", severity="permanent", reason="bounce", **{"delivery-status": status})
    for event in variants_of(failed):
        check(await test_mailgun_receipts.read(test_mailgun_receipts.signed(event)))


async def test_resends_events_are_read_or_left_out() -> None:
    bounce = {"type": "Permanent", "subType": "General", "message": "no"}
    for event in variants_of(test_resend_receipts.event("email.bounced", bounce=bounce)):
        check(await test_resend_receipts.read(test_resend_receipts.signed(event)))


def test_sess_events_are_read_or_left_out() -> None:
    bounce = {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "timestamp": "2023-11-14T22:13:20.500Z",
        "bouncedRecipients": [{**test_ses_receipts.ANNA, "diagnosticCode": "no"}],
    }
    for event in variants_of(test_ses_receipts.event("Bounce", bounce=bounce)):
        check(list(ses_receipts._read(fields_of(parsed(json.dumps(event))), "id")))


ENVELOPE = {
    "Type": "Notification",
    "TopicArn": TOPIC,
    "Timestamp": "2026-11-21T00:00:00.000Z",
    "SignatureVersion": "2",
    "Signature": "AAAA",
    "SigningCertURL": "https://evil.example/x.pem",
    "Message": "{}",
}


@pytest.mark.parametrize("reader", [sendgrid_receipts, mailgun_receipts, resend_receipts, ses_receipts])
async def test_what_nobody_signed_is_refused(reader: Any) -> None:
    account = Account(1, 1, {}, receipts_secret=TOPIC)
    documents = (ENVELOPE, {"signature": {"timestamp": "1", "token": "t", "signature": "s"}, "event-data": {}})
    for variant in (variant for document in documents for variant in variants_of(document)):
        call = test_mailgun_receipts.call(variant)
        headers = {"svix-id": "x", "svix-timestamp": str(int(time.time())), "svix-signature": "v1,x"}
        for received in (call, replace(call, headers=headers)):
            with pytest.raises(ReceiptRefused):
                await reader.read_receipts(account, received, transport=NOWHERE, endpoint=None)
