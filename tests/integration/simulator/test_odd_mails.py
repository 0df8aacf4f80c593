"""Whatever stands in a request, a simulated mailer answers: each place of a full one with each odd value."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.simulator.keyring import Keyring
from shared.simulator.record import Record
from shared.simulator.resend import Resend
from shared.simulator.sendgrid import Sendgrid
from shared.simulator.ses_mail import BadRequest, bulk_copies, single_copies
from shared.simulator.wire.exchange import Request
from tests.odd_documents import variants_of

TO = "anna@example.com"
FILE = {"content": "QQ==", "filename": "logo.png", "type": "image/png"}
SES_FILE = {"RawContent": "QQ==", "FileName": "logo.png", "ContentType": "image/png"}
TAG, SES_TAG = {"name": "a", "value": "b"}, {"Name": "a", "Value": "b"}

SENDGRID = {
    "from": {"email": TO, "name": "News"},
    "reply_to": {"email": TO, "name": "Desk"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hello"}],
    "attachments": [FILE],
    "headers": {"X-A": "b"},
    "custom_args": {"a": "b"},
    "mail_settings": {"sandbox_mode": {"enable": False}},
    "personalizations": [
        {"to": [{"email": TO}], "cc": [{"email": "otto@example.com"}], "custom_args": {"a": "b"}, "subject": "Hi"}
    ],
}
RESEND = {
    "from": TO,
    "to": [TO],
    "cc": ["otto@example.com"],
    "reply_to": [TO],
    "subject": "Hello",
    "text": "Hello",
    "html": "Hello",
    "tags": [TAG],
    "attachments": [{**FILE, "content_type": "image/png"}],
}
SES_SENDER = {"FromEmailAddress": TO, "ReplyToAddresses": [TO]}
SES_SIMPLE = {"Subject": {"Data": "Hello"}, "Body": {"Text": {"Data": "Hello"}}, "Attachments": [SES_FILE]}
SES_SINGLE = {
    **SES_SENDER,
    "Destination": {"ToAddresses": [TO]},
    "EmailTags": [SES_TAG],
    "Content": {"Simple": SES_SIMPLE},
}
SES_BULK = {
    **SES_SENDER,
    "DefaultContent": {
        "Template": {
            "TemplateContent": {"Subject": "Hello", "Text": "Hello {{name}}"},
            "TemplateData": "{}",
            "Attachments": [SES_FILE],
        }
    },
    "DefaultEmailTags": [SES_TAG],
    "BulkEmailEntries": [
        {
            "Destination": {"ToAddresses": [TO]},
            "ReplacementTags": [SES_TAG],
            "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": '{"name":"you"}'}},
        }
    ],
}


async def test_sendgrid_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    provider = Sendgrid(Record(tmp_path / "record.jsonl"), Keyring(tmp_path / "accounts.key"))
    headers = {b"authorization": f"Bearer {provider.credentials()['apiKey']}".encode(), b"accept": b"*/*"}
    statuses = set()
    for document in variants_of(SENDGRID):
        reply = provider.answer(Request("POST", "/v3/mail/send", "", headers, json.dumps(document).encode()))
        assert reply is not None
        statuses.add(reply.status)
    assert statuses == {200, 202, 400}
    deep = provider.answer(Request("POST", "/v3/mail/send", "", headers, b"[" * 100_000))
    assert deep is not None
    assert deep.status == 400


async def test_resend_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    provider = Resend(Record(tmp_path / "record.jsonl"), Keyring(tmp_path / "accounts.key"))
    headers = {b"authorization": f"Bearer {provider.credentials()['apiKey']}".encode(), b"user-agent": b"a test"}
    statuses = set()
    for document in (*variants_of(RESEND), *variants_of([RESEND])):
        path = "/emails/batch" if isinstance(document, list) else "/emails"
        reply = provider.answer(Request("POST", path, "", headers, json.dumps(document).encode()))
        assert reply is not None
        statuses.add(reply.status)
    assert statuses == {200, 422}


@pytest.mark.parametrize(("read", "document"), [(single_copies, SES_SINGLE), (bulk_copies, SES_BULK)])
def test_ses_refuses_or_reads_whatever_it_is_asked(read: Callable[[Any], list[Any]], document: Any) -> None:
    answered = {"read": 0, "refused": 0}
    for variant in variants_of(document):
        try:
            assert len(read(variant)) == 1
            answered["read"] += 1
        except BadRequest:
            answered["refused"] += 1
    assert min(answered.values()) > 20
