"""Receipts of providers that sign nothing, in every form they may choose: the address is the secret."""

import json
from urllib.parse import urlencode

import pytest

from shared.db.receipt_addresses import ReceiptAddresses
from shared.db.secrets import read_secret_keys
from shared.providers.receipts import LARGEST_BODY
from tests.integration.api.conftest import Caller, RunningApi

FIELDS = {"id": "7", "status": "d", "receiver": "12025550123", "referenceId": "17"}
PART = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
IN_PARTS = ("".join(PART.format(*field) for field in FIELDS.items()) + "--x--\r\n").encode()
NOBODY: dict[str, str | None] = {"X-Appwrite-Project": None, "X-Appwrite-Key": None}


@pytest.fixture
def place(caller: Caller, running_api: RunningApi) -> str:
    """The path of a TextMagic account, below /v1."""
    caller.create("/messaging/providers/textmagic", {"providerId": "sms", "name": "SMS"})
    ((seq,),) = caller.rows("SELECT seq FROM providers WHERE project_seq = %(project)s")
    return f"/tidings/receipts/{ReceiptAddresses(read_secret_keys(running_api.settings), None).place_of(seq)}"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", urlencode(FIELDS).encode()),
        ("multipart/form-data; boundary=x", IN_PARTS),
        ("application/json", json.dumps(FIELDS).encode()),
    ],
)
def test_each_form_is_taken(caller: Caller, place: str, content_type: str, body: bytes) -> None:
    answer = caller("POST", place, data=body, headers={**NOBODY, "Content-Type": content_type})

    assert (answer.status, answer.body) == (200, {"received": 1, "new": 1})
    rows = caller.rows("SELECT kind, run, recipient, provider_message_id FROM receipts WHERE project_seq = %(project)s")
    assert rows == [("delivered", 17, "12025550123", "7")]


def test_a_query_is_taken(caller: Caller, place: str) -> None:
    assert caller("GET", place, params=FIELDS, headers=NOBODY).body == {"received": 1, "new": 1}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_trial_call_is_answered(caller: Caller, place: str, method: str) -> None:
    """TextMagic saves no address that does not answer 200."""
    assert caller(method, place, headers=NOBODY).status == 200
    assert caller.rows("SELECT seq FROM receipts WHERE project_seq = %(project)s") == []


def test_what_cannot_be_read_leaves_nothing(caller: Caller, place: str) -> None:
    assert caller("POST", place, data=b"nothing of use", headers=NOBODY).refusal == (401, "user_unauthorized")


def test_it_is_there_for_whoever_only_asks_for_its_head(caller: Caller, place: str) -> None:
    """So did TextMagic's older API before it took an address."""
    answer = caller.session.head(f"{caller.endpoint}{place}", timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_call_longer_than_providers_send_is_refused(caller: Caller, place: str) -> None:
    body = json.dumps({**FIELDS, "more": "x" * LARGEST_BODY}).encode()
    answer = caller("POST", place, data=body, headers={**NOBODY, "Content-Type": "application/json"})
    assert answer.refusal == (413, "general_body_too_large")
    assert caller.rows("SELECT seq FROM receipts WHERE project_seq = %(project)s") == []
