"""While one account is in trouble, everybody else's messages are sent: through other kinds, through other accounts of
the same kind, of the same tenant and of another one. The order of events tells, no clock: provider calls may take a
minute here, so whoever waited for the troubled account would be late by far.
"""

import time
from collections.abc import Iterator

import pytest

from tests.benchmarks.neighbours.installation import Account, Neighbourhood, Owner, running_neighbourhood
from tests.benchmarks.neighbours.troubles import HOSTILE_INPUTS, Trouble, trouble

KINDS = ("smtp", "sendgrid", "fcm", "twilio")

VARIABLES = {
    "TIDINGS_PROVIDER_TIMEOUT_SECONDS": "60",
    "TIDINGS_SMTP_FINAL_TIMEOUT_SECONDS": "60",
    "TIDINGS_LEASE_SECONDS": "130",
    "TIDINGS_SLICE_SECONDS": "0.2",  # where work is done in slices, the others wait at their ends
    "TIDINGS_STALE_DUE_SECONDS": "0.3",
    "TIDINGS_SWEEP_INTERVAL_SECONDS": "0.5",
}

SECONDS = 30.0
"""Within which a neighbour's message is sent: below a single call of the troubled account."""

PEOPLE = 24

ROUNDS = 3
"""A message may be sent before a trouble is felt; then another one is sent, and another."""

NEVER_DONE = ("silent", "dripping", "slow", "unreachable")
"""Troubles in which the messages stay open; the others may end them."""


@pytest.fixture(scope="module")
def neighbourhood() -> Iterator[Neighbourhood]:
    with running_neighbourhood(KINDS, people=PEOPLE, variables=VARIABLES) as running:
        yield running


@pytest.fixture(autouse=True)
def peace(neighbourhood: Neighbourhood) -> Iterator[None]:
    """The next test begins with accounts that nothing is known of; with other workers, where these still wait."""
    yield
    for kind in KINDS:
        neighbourhood.set_faults(kind, {})
    neighbourhood.first.forget_messages()
    neighbourhood.first.renew_accounts()
    probe = neighbourhood.account("twilio", Owner.OTHER)
    if not is_over(probe, send_one(probe), seconds=2.0):
        neighbourhood.replace_workers()


def send_one(account: Account) -> str:
    """The message's id."""
    made = account.send("Hello", whom={"targets": [account.person()]})
    assert made.ok, made.text
    message_id: str = made.json()["$id"]
    return message_id


def open_recipients(account: Account, message_id: str) -> int:
    """Of those that are planned."""
    with account.tenant.factory.connect() as connection:
        row = connection.execute(
            "SELECT planned - sent - failed - skipped - cancelled - expired - unknown FROM message_progress"
            " JOIN messages USING (run) WHERE messages.project_seq = %s AND messages.id = %s",
            [account.tenant.factory.project_seq, message_id],
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def is_over(account: Account, message_id: str, *, seconds: float) -> bool:
    """Sent, or failed: it may have met a connection that the trouble had cut."""
    deadline = time.monotonic() + seconds
    while account.tenant.call("GET", f"/messaging/messages/{message_id}").json()["status"] == "processing":
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_sent(account: Account, message_id: str, *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while (found := account.tenant.call("GET", f"/messaging/messages/{message_id}").json())["status"] != "sent":
        assert found["status"] == "processing", found["deliveryErrors"]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def until_tried(account: Account, message_id: str) -> None:
    """Somebody of the message is claimed, or is done with already: the trouble has begun."""
    deadline = time.monotonic() + SECONDS
    with account.tenant.factory.connect() as connection:
        while not connection.execute(
            "SELECT 1 FROM messages WHERE messages.project_seq = %(project)s AND messages.id = %(id)s AND ("
            " EXISTS (SELECT FROM batches WHERE batches.run = messages.run AND attempted_to > 0)"
            " OR EXISTS (SELECT FROM attempts WHERE attempts.run = messages.run))",
            {"project": account.tenant.factory.project_seq, "id": message_id},
        ).fetchone():
            assert time.monotonic() < deadline, "the troubled account was not even tried"
            time.sleep(0.02)


def neighbours_of(neighbourhood: Neighbourhood, kind: str, one: Trouble | None) -> list[Account]:
    spares_kind = one is None or one.spares_others_of(kind)
    found = [
        neighbourhood.account(other, owner)
        for owner in (Owner.OWN, Owner.OTHER)
        for other in KINDS
        if other != kind or spares_kind
    ]
    if one is not None and one.is_of_the_addresses:
        found.append(neighbourhood.account(kind, Owner.SPARED))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["silent", "dripping", "slow", "refusing", "unreachable", "foreign"])
def test_an_accounts_trouble_is_its_own(neighbourhood: Neighbourhood, kind: str, name: str) -> None:
    one, account = trouble(name), neighbourhood.account(kind, Owner.TROUBLED)
    profile = {**one.faults(kind), "latency_ms": 60_000} if name == "slow" else one.faults(kind)
    neighbourhood.set_faults(kind, profile)
    campaign: str = account.send("Hello", whom={"topics": [account.campaign]}).json()["$id"]
    for _ in range(2):
        send_one(account)
    until_tried(account, campaign)

    for _ in range(ROUNDS):
        sent = [(neighbour, send_one(neighbour)) for neighbour in neighbours_of(neighbourhood, kind, one)]
        for neighbour, message_id in sent:
            assert is_sent(neighbour, message_id, seconds=SECONDS), f"{neighbour.name} still waits"

    if name in NEVER_DONE:
        assert open_recipients(account, campaign) > 0


def test_hostile_messages_stop_nobody(neighbourhood: Neighbourhood) -> None:
    """All of them at once, for both workers; one that the API refuses has stopped nobody either."""
    for hostile in [one for one in HOSTILE_INPUTS if one.kind in KINDS] * 2:
        account = neighbourhood.account(hostile.kind, Owner.TROUBLED)
        answer = account.send("Hello", whom={"targets": [account.person()]}, **hostile.content)
        assert answer.status_code < 500, hostile.name

    for neighbour in neighbours_of(neighbourhood, "smtp", None):
        assert is_sent(neighbour, send_one(neighbour), seconds=SECONDS), f"{neighbour.name} still waits"
