"""S7: what providers post is believed as far as it is proven, and only of deliveries that they made.

Signatures, altered bodies, ages and forged addresses: tests/unit/providers/*_receipts.py and
tests/integration/api/test_receipts.py. What a receipt may do to the ledger: tests/integration/receipts/test_fold.py.
"""

import json
from datetime import UTC, datetime

import pytest

from api.routes import receipts as receipts_route
from shared.db.receipt_addresses import ReceiptAddresses
from shared.db.secrets import read_secret_keys
from tests.integration.api.conftest import Answer, Caller, RunningApi

NOBODY: dict[str, str | None] = {"X-Appwrite-Project": None, "X-Appwrite-Key": None}
TOPIC = "arn:aws:sns:eu-central-1:123456789012:receipts"


def place_of(caller: Caller, running_api: RunningApi, provider_id: str) -> str:
    """The path of its receipts, below /v1."""
    ((seq,),) = caller.rows(f"SELECT seq FROM providers WHERE project_seq = %(project)s AND id = '{provider_id}'")  # noqa: S608  # ours
    return f"/tidings/receipts/{ReceiptAddresses(read_secret_keys(running_api.settings), None).place_of(seq)}"


def post_step(caller: Caller, place: str, number: int) -> Answer:
    """As TextMagic does, which signs nothing."""
    step = {"id": str(number), "status": "d", "receiver": "12025550123", "referenceId": "17"}
    return caller("POST", place, json=step, headers=NOBODY)


def test_a_project_whose_receipts_pile_up_is_told_to_wait(
    caller: Caller, stranger: Caller, running_api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts_route, "MOST_WAITING", 2)
    monkeypatch.setattr(receipts_route, "CROWD_SECONDS", 0.0)
    places = []
    for owner in (caller, stranger):
        owner.create("/messaging/providers/textmagic", {"providerId": "sms", "name": "SMS"})
        places.append(place_of(owner, running_api, "sms"))

    answers = [post_step(caller, places[0], number) for number in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[3].type == "general_rate_limit_exceeded"
    assert int(answers[3].headers["retry-after"]) > 0
    assert post_step(caller, places[1], 1).status == 200  # another project's

    caller.rows("UPDATE receipts SET folded_at = now() WHERE project_seq = %(project)s RETURNING seq")
    assert post_step(caller, places[0], 5).status == 200


def test_nothing_is_fetched_for_a_receipt_while_the_installation_is_not_live(
    caller: Caller, running_api: RunningApi
) -> None:
    """SNS's certificate would be."""
    account = {"accessKey": "A", "secretKey": "S", "region": "eu-central-1", "fromEmail": "news@example.com"}
    caller.create("/messaging/providers/ses", {"providerId": "mail", "name": "Mail", **account})
    caller("PUT", "/tidings/providers/mail/receipts", json={"secret": TOPIC})
    envelope = {
        "Type": "SubscriptionConfirmation",
        "TopicArn": TOPIC,
        "Timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "Message": "",
        "MessageId": "1",
        "Token": "1",
        "SignatureVersion": "1",
        "Signature": "AAAA",
        "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/cert.pem",
        "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription",
    }
    answer = caller("POST", place_of(caller, running_api, "mail"), data=json.dumps(envelope), headers=NOBODY)
    assert answer.refusal == (503, "installation_not_live")
    assert answer.headers["retry-after"]
