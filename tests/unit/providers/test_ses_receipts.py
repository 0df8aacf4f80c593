"""SES's receipts through SNS: what is signed is believed and of our topic, and nothing else is visited."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.email.ses_receipts import SesReceipts
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.simulator.mailer import News
from shared.simulator.ses import Ses
from shared.simulator.simulator import Simulator
from shared.simulator.sns import TOPIC
from tests.unit.providers.mail_receipts import NOWHERE, URL, as_received, taken


class Sns:
    """The simulated one, serving its certificate, and our reader."""

    def __init__(self, simulator: Simulator) -> None:
        provider = simulator.http_providers["ses"]
        assert isinstance(provider, Ses)
        self.provider = provider
        self.sns = provider.sns
        self.sns.origin = self.endpoint = simulator.https_endpoint
        self.transport = CurlTransport(timeout_seconds=5, ca_file=simulator.ca_file)

    def signed(self, event: Any) -> ReceiptCall:
        return as_received(self.sns.notification(URL, event if isinstance(event, str) else json.dumps(event)))

    def altered(self, call: ReceiptCall, **fields: Any) -> ReceiptCall:
        """Without a new signature; None takes a field away."""
        envelope = {**json.loads(call.body), **fields}
        kept = {name: value for name, value in envelope.items() if value is not None}
        return replace(call, body=json.dumps(kept).encode())

    async def read(
        self,
        call: ReceiptCall,
        *,
        topic: str = TOPIC,
        endpoint: str | None = None,
        transport: CurlTransport | None = None,
    ) -> Sequence[Receipt]:
        account = Account(1, 1, {}, receipts_secret=topic)
        place = self.endpoint if endpoint is None else endpoint or None
        return await SesReceipts()(account, call, transport=transport or self.transport, endpoint=place)


@pytest.fixture(scope="module")
async def sns(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sns]:
    async with Simulator.running(tmp_path_factory.mktemp("sns")) as simulator:
        sns = Sns(simulator)
        yield sns
        await sns.transport.aclose()


def event(name: str, **more: Any) -> dict[str, Any]:
    mail = {
        "messageId": "0107-1",
        "timestamp": "2023-11-14T22:13:20.000Z",
        "destination": ["anna@example.com"],
        "tags": {"tidings_delivery": ["17-4"], "ses:from-domain": ["example.com"]},
    }
    return {"eventType": name, "mail": mail, **more}


ANNA = {"emailAddress": "anna@example.com"}


async def test_says_whose_it_is_and_what_became_of_it(sns: Sns) -> None:
    bounced = {**ANNA, "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 no such user"}
    bounce = {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [bounced],
        "timestamp": "2023-11-14T22:13:20.500Z",
    }
    call = sns.signed(event("Bounce", bounce=bounce))

    (receipt,) = await sns.read(call)

    assert receipt == Receipt(
        event_id=f"{json.loads(call.body)['MessageId']}-0",
        kind=ReceiptKind.BOUNCED,
        recipient="anna@example.com",
        delivery_id="17-4",
        provider_message_id="0107-1",
        reason="Bounce: Permanent: General: smtp; 550 5.1.1 no such user",
        occurred_at=1_700_000_000.5,
    )


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (event("Send", send={}), ReceiptKind.PENDING),
        (
            event("DeliveryDelay", deliveryDelay={"delayType": "MailboxFull", "delayedRecipients": [ANNA]}),
            ReceiptKind.PENDING,
        ),
        (event("Delivery", delivery={"recipients": ["anna@example.com"]}), ReceiptKind.DELIVERED),
        (event("Reject", reject={"reason": "Bad content"}), ReceiptKind.FAILED),
        (event("Rendering Failure", failure={"errorMessage": "x"}), ReceiptKind.FAILED),
        (event("Bounce", bounce={"bounceType": "Transient", "bouncedRecipients": [ANNA]}), ReceiptKind.FAILED),
        (event("Bounce", bounce={"bounceType": "Undetermined"}), ReceiptKind.FAILED),
        (event("Complaint", complaint={"complainedRecipients": [ANNA]}), ReceiptKind.COMPLAINED),
        (
            event("Subscription", subscription={"newTopicPreferences": {"unsubscribeAll": True}}),
            ReceiptKind.UNSUBSCRIBED,
        ),
        ({**event("x", bounce={}), "eventType": None, "notificationType": "Bounce"}, ReceiptKind.FAILED),
    ],
    ids=lambda value: value["eventType"] if isinstance(value, dict) else None,
)
async def test_what_events_mean(sns: Sns, found: dict[str, Any], kind: ReceiptKind) -> None:
    assert [(r.kind, r.recipient) for r in await sns.read(sns.signed(found))] == [(kind, "anna@example.com")]


async def test_several_recipients_have_a_receipt_each(sns: Sns) -> None:
    bounce = {"bounceType": "Permanent", "bouncedRecipients": [ANNA, {"emailAddress": "otto@example.com"}]}

    first, second = await sns.read(sns.signed(event("Bounce", bounce=bounce)))

    assert (first.recipient, second.recipient) == ("anna@example.com", "otto@example.com")
    assert first.event_id != second.event_id


@pytest.mark.parametrize(
    "found",
    [event("Open"), event("Click"), event("Subscription", subscription={"newTopicPreferences": {}}), {}, [], 7],
    ids=str,
)
async def test_leaves_out_what_is_about_nothing_we_follow(sns: Sns, found: Any) -> None:
    assert await sns.read(sns.signed(found)) == []


async def test_confirms_its_subscription(sns: Sns) -> None:
    call = as_received(sns.sns.confirmation(URL))

    assert await sns.read(call) == []
    assert sns.sns.confirmed == [json.loads(call.body)["Token"]]


async def test_fetches_a_certificate_once(sns: Sns) -> None:
    reader, account = SesReceipts(), Account(1, 1, {}, receipts_secret=TOPIC)
    for transport in (sns.transport, NOWHERE):  # the second would find nothing
        call = sns.signed(event("Delivery"))
        assert await reader(account, call, transport=transport, endpoint=sns.endpoint)


@pytest.mark.parametrize("name", ["Message", "MessageId", "Timestamp", "TopicArn", "Type"])
async def test_refuses_what_was_altered(sns: Sns, name: str) -> None:
    call = sns.signed(event("Delivery"))
    other = "2030-01-01T00:00:00.000Z" if name == "Timestamp" else "another"

    with pytest.raises(ReceiptRefused):
        await sns.read(sns.altered(call, **{name: other}))


async def test_refuses_a_field_more_than_was_signed(sns: Sns) -> None:
    with pytest.raises(ReceiptRefused, match="signature"):
        await sns.read(sns.altered(sns.signed(event("Delivery")), Subject="added"))


@pytest.mark.parametrize("topic", ["", "arn:aws:sns:eu-central-1:999999999999:theirs"])
async def test_refuses_topics_of_others(sns: Sns, topic: str) -> None:
    """They are signed with the same certificate."""
    with pytest.raises(ReceiptRefused, match="topic"):
        await sns.read(sns.signed(event("Delivery")), topic=topic, transport=NOWHERE)


@pytest.mark.parametrize("age", [-3601, 3601])
async def test_refuses_what_was_signed_at_another_time(sns: Sns, age: float) -> None:
    call = sns.signed(event("Delivery"))

    with pytest.raises(ReceiptRefused, match="too long ago"):
        await sns.read(replace(call, received_at=call.received_at + age), transport=NOWHERE)


@pytest.mark.parametrize(
    "address",
    [
        "https://sns.eu-central-1.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/x.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/x.pem",
        "http://sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com\r\n/x.pem",
        "https://sns.eu-central-1.amazonaws.com/x y.pem",
        "https://[/x.pem",
        "file:///etc/passwd",
        "",
    ],
    ids=ascii,
)
async def test_visits_nobody_but_sns(sns: Sns, address: str) -> None:
    call = sns.altered(sns.signed(event("Delivery")), SigningCertURL=address)

    with pytest.raises(ReceiptRefused, match="address"):
        await sns.read(call, endpoint="", transport=NOWHERE)


async def test_a_signature_of_somebody_elses_key_is_none(sns: Sns) -> None:
    call = sns.signed(event("Delivery"))
    key = rsa.generate_private_key(65537, 2048)
    forged = base64.b64encode(key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())).decode()

    with pytest.raises(ReceiptRefused, match="signature"):
        await sns.read(sns.altered(call, Signature=forged))


async def test_takes_the_older_signature_of_topics_that_nobody_told_otherwise(sns: Sns) -> None:
    call = sns.signed(event("Delivery"))
    envelope = json.loads(call.body)
    names = ("Message", "MessageId", "Timestamp", "TopicArn", "Type")
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names)
    older = sns.sns._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA1())  # noqa: S303  # what AWS uses by default

    assert await sns.read(sns.altered(call, Signature=base64.b64encode(older).decode(), SignatureVersion="1"))


@pytest.mark.parametrize(
    "altered",
    [
        {"Signature": None},
        {"Signature": "%%%"},
        {"Signature": ["x"]},
        {"SignatureVersion": "3"},
        {"SignatureVersion": None},
        {"Type": "UnsubscribeConfirmation"},
        {"Timestamp": None},
        {"Timestamp": "yesterday"},
        {"Message": "\ud800"},
        {"SigningCertURL": None},
    ],
    ids=ascii,
)
async def test_refuses_what_is_missing_or_unreadable(sns: Sns, altered: dict[str, Any]) -> None:
    with pytest.raises(ReceiptRefused):
        await sns.read(sns.altered(sns.signed(event("Delivery")), **altered))


@pytest.mark.parametrize("path", ["/nothing.pem", "/?Action=ConfirmSubscription"])
async def test_refuses_what_is_no_certificate(sns: Sns, path: str) -> None:
    call = sns.altered(sns.signed(event("Delivery")), SigningCertURL=f"{sns.endpoint}{path}")

    with pytest.raises(ReceiptRefused):
        await sns.read(call)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
async def test_refuses_what_is_no_envelope(sns: Sns, body: bytes) -> None:
    with pytest.raises(ReceiptRefused):
        await sns.read(replace(sns.signed(event("Delivery")), body=body), transport=NOWHERE)


async def test_refuses_a_message_that_is_no_event(sns: Sns) -> None:
    with pytest.raises(ReceiptRefused, match="JSON"):
        await sns.read(sns.signed("Successfully validated SNS topic"))


async def test_reads_what_the_simulator_signs(sns: Sns) -> None:
    sns.provider.receipts_url = URL
    confirmation, *calls = sns.provider.receipts_of(taken(News))

    assert await sns.read(as_received(confirmation)) == []
    receipts = [await sns.read(as_received(call)) for call in calls]

    assert [(receipt.kind, receipt.delivery_id, receipt.provider_message_id) for (receipt,) in receipts] == [
        (ReceiptKind(news), f"1700000000000-{number}", f"message{number}") for number, news in enumerate(News)
    ]
