"""Receipts are folded into the ledger: states only move forward, sums stay exact, dead addresses are suppressed."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from scheduler.context import TickContext
from scheduler.fold import fold
from shared.db.queries.receipts import append_receipts, fold_receipts, forget_receipts
from shared.db.queries.suppressions import suppressed_among
from shared.db.session import create_engine, hot_transaction
from shared.domain.receipt import Receipt, ReceiptKind
from shared.ids import run_floor
from shared.queue.rings import Ringer
from shared.settings import Settings
from tests.factories import Factory

RUN = run_floor(1_795_000_000_000)


@dataclass(slots=True)
class Story:
    """One message to four people, whose deliveries are in the ledger, and its provider."""

    factory: Factory
    engine: AsyncEngine
    provider_seq: int
    targets: list[int]

    def ask(self, question: str, *parameters: object) -> list[Any]:
        with self.factory.connect() as connection:
            return connection.execute(question.encode(), parameters).fetchall()

    def do(self, statement: str, *parameters: object) -> None:
        with self.factory.connect() as connection:
            connection.execute(statement.encode(), parameters)

    def start(self, *states: str, run: int = RUN) -> None:
        """Deliveries with these states, of a message that is finished."""
        self.do("DELETE FROM deliveries WHERE run = %s", run)
        self.do("DELETE FROM message_progress WHERE run = %s", run)
        self.do("DELETE FROM receipts WHERE run = %s", run)
        sums = {state: states.count(state) for state in ("sent", "failed", "unknown")}
        self.do(
            "INSERT INTO message_progress (run, project_seq, message_seq, planned, batches_left, sent, failed, unknown)"
            " VALUES (%s, %s, 1, %s, 0, %s, %s, %s)",
            run,
            self.factory.project_seq,
            len(states),
            *sums.values(),
        )
        for target_seq, state in zip(self.targets, states, strict=False):
            self.do(
                "INSERT INTO deliveries (run, target_seq, project_seq, state, provider_seq, attempts, resends)"
                " VALUES (%s, %s, %s, %s, %s, 1, 0)",
                run,
                target_seq,
                self.factory.project_seq,
                state,
                self.provider_seq,
            )

    def receipt(self, kind: ReceiptKind, person: int = 0, *, event: str = "", **facts: Any) -> Receipt:
        delivery = f"{RUN}-{self.targets[person]}"
        facts = {"recipient": f"person{person + 1}@example.com", "delivery_id": delivery, **facts}
        return Receipt(event_id=event or f"{kind}-{facts['delivery_id']}-{facts['recipient']}", kind=kind, **facts)

    async def take(self, *receipts: Receipt, project_seq: int | None = None) -> int:
        async with hot_transaction(self.engine) as connection:
            return await append_receipts(
                connection,
                project_seq=project_seq or self.factory.project_seq,
                provider_seq=self.provider_seq,
                receipts=receipts,
            )

    async def fold(self) -> int:
        async with hot_transaction(self.engine) as connection:
            return await fold_receipts(connection)

    async def tell(self, *receipts: Receipt) -> None:
        await self.take(*receipts)
        await self.fold()

    def ledger(self) -> list[tuple[str, str | None]]:
        return self.ask("SELECT state, receipt FROM deliveries WHERE run = %s ORDER BY target_seq", RUN)

    def sums(self) -> dict[str, int]:
        names = ("sent", "failed", "unknown", "delivered", "undelivered", "complained", "unsubscribed")
        (row,) = self.ask(f"SELECT {', '.join(names)} FROM message_progress WHERE run = %s", RUN)  # noqa: S608
        return {name: number for name, number in zip(names, row, strict=True) if number}

    def suppressed(self) -> list[str]:
        return [identifier for (identifier,) in self.ask("SELECT identifier FROM suppressions ORDER BY 1")]

    def waiting(self) -> int:
        ((count,),) = self.ask("SELECT count(*) FROM receipts WHERE folded_at IS NULL")
        return int(count)


@pytest.fixture
async def story(settings: Settings) -> AsyncIterator[Story]:
    factory = Factory(settings)
    provider_seq = factory.provider("sendgrid", "mail", credentials={"apiKey": "key"})
    factory.audience(4, channel="email")
    engine = create_engine(settings, role="test")
    with factory.connect() as connection:
        targets = [int(str(seq)) for (seq,) in connection.execute("SELECT seq FROM targets ORDER BY seq").fetchall()]
    yield Story(factory, engine, provider_seq, targets)
    await engine.dispose()


K = ReceiptKind


@pytest.mark.parametrize(
    ("before", "kind", "after", "sums"),
    [
        ("sent", K.PENDING, ("sent", "pending"), {"sent": 1}),
        ("sent", K.DELIVERED, ("sent", "delivered"), {"sent": 1, "delivered": 1}),
        ("sent", K.FAILED, ("sent", "failed"), {"sent": 1, "undelivered": 1}),
        ("sent", K.BOUNCED, ("sent", "bounced"), {"sent": 1, "undelivered": 1}),
        ("sent", K.COMPLAINED, ("sent", "complained"), {"sent": 1, "complained": 1}),
        ("sent", K.UNSUBSCRIBED, ("sent", "unsubscribed"), {"sent": 1, "unsubscribed": 1}),
        ("unknown", K.PENDING, ("sent", "pending"), {"sent": 1}),
        ("unknown", K.DELIVERED, ("sent", "delivered"), {"sent": 1, "delivered": 1}),
        ("unknown", K.FAILED, ("failed", "failed"), {"failed": 1, "undelivered": 1}),
        ("unknown", K.BOUNCED, ("failed", "bounced"), {"failed": 1, "undelivered": 1}),
        ("failed", K.DELIVERED, ("failed", "delivered"), {"failed": 1, "delivered": 1}),
    ],
)
async def test_what_a_receipt_does(
    story: Story, before: str, kind: ReceiptKind, after: tuple[str, str], sums: dict[str, int]
) -> None:
    story.start(before)

    await story.tell(story.receipt(kind))

    assert story.ledger() == [after]
    assert story.sums() == sums
    assert story.waiting() == 0


async def test_the_order_of_arrival_does_not_matter(story: Story) -> None:
    """All orders of a life, each receipt in a page of its own, and each of them twice."""
    life = (K.PENDING, K.FAILED, K.DELIVERED, K.COMPLAINED)
    for number, order in enumerate(permutations(life)):
        story.start("unknown")
        for turn, kind in enumerate(order):
            await story.tell(story.receipt(kind, event=f"{number}-{kind}"))
            await story.tell(story.receipt(kind, event=f"{number}-{kind}-again-{turn}"))

        assert [receipt for _, receipt in story.ledger()] == ["complained"], order
        sums = story.sums()
        assert sums.pop("complained") == 1
        assert sums in ({"sent": 1}, {"failed": 1}), "the first word settles what was unknown"


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pages=st.lists(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(K))), min_size=1, max_size=6), max_size=5)
)
async def test_sums_are_those_of_the_ledger(story: Story, pages: list[list[tuple[int, ReceiptKind]]]) -> None:
    story.start("sent", "unknown", "failed", "sent")
    for number, page in enumerate(pages):
        receipts = [story.receipt(kind, person, event=f"{number}-{person}-{kind}") for person, kind in page]
        await story.tell(*receipts)

    expected: dict[str, int] = {}
    for state, receipt in story.ledger():
        expected[state] = expected.get(state, 0) + 1
        if receipt and (name := ReceiptKind(receipt).counted_as):
            expected[name] = expected.get(name, 0) + 1
    assert story.sums() == expected


async def test_the_same_event_counts_once(story: Story) -> None:
    story.start("sent")

    taken = [await story.take(story.receipt(K.DELIVERED, event="e1")) for _ in range(46)]
    await story.fold()

    assert sum(taken) == 1
    assert story.sums() == {"sent": 1, "delivered": 1}


async def test_receipts_wait_for_the_ledger(story: Story) -> None:
    story.start("sent")
    story.do("DELETE FROM deliveries WHERE run = %s", RUN)
    await story.tell(story.receipt(K.DELIVERED))
    assert story.waiting() == 1
    assert await story.fold() == 0, "not looked at again at once"

    story.do(
        "INSERT INTO deliveries (run, target_seq, project_seq, state, provider_seq, attempts, resends)"
        " VALUES (%s, %s, %s, 'sent', %s, 1, 0)",
        RUN,
        story.targets[0],
        story.factory.project_seq,
        story.provider_seq,
    )
    story.do("UPDATE receipts SET due_at = now()")
    await story.fold()

    assert story.ledger() == [("sent", "delivered")]
    assert story.waiting() == 0


async def test_what_nobody_ever_sent_is_given_up(story: Story) -> None:
    await story.tell(story.receipt(K.DELIVERED))
    story.do("UPDATE receipts SET due_at = now(), received_at = now() - interval '4 days'")

    await story.fold()

    assert story.waiting() == 0


@pytest.mark.parametrize("delivery", ["", "somebody-elses", "1-2-3", "-5", "9" * 30, f"{RUN}-x"])
async def test_references_that_are_not_ours_are_passed_over(story: Story, delivery: str) -> None:
    story.start("sent")

    await story.tell(story.receipt(K.DELIVERED, delivery_id=delivery, recipient="unknown@example.com"))

    assert story.ledger() == [("sent", None)]
    assert story.waiting() == 0


async def test_a_provider_speaks_of_its_own_project_only(story: Story) -> None:
    story.start("sent")
    story.do("UPDATE deliveries SET project_seq = project_seq + 1 WHERE run = %s", RUN)

    await story.tell(story.receipt(K.DELIVERED))

    assert story.ledger() == [("sent", None)]
    assert story.sums() == {"sent": 1}


async def test_an_address_stands_for_its_delivery(story: Story) -> None:
    """Where a call named several recipients, its reference is the run alone."""
    story.start("sent", "sent")

    await story.tell(story.receipt(K.DELIVERED, 1, delivery_id=str(RUN), recipient="person2@example.com"))

    assert story.ledger() == [("sent", None), ("sent", "delivered")]


@pytest.mark.parametrize(
    ("kind", "suppressed"),
    [
        (K.PENDING, False),
        (K.DELIVERED, False),
        (K.FAILED, False),
        (K.BOUNCED, True),
        (K.COMPLAINED, True),
        (K.UNSUBSCRIBED, True),
    ],
)
async def test_who_is_suppressed(story: Story, kind: ReceiptKind, suppressed: bool) -> None:  # noqa: FBT001  # a table
    story.start("sent", "sent")

    await story.tell(story.receipt(kind, 0, reason="said the provider"))

    async with hot_transaction(story.engine) as connection:
        found = await suppressed_among(connection, story.targets)
    assert found == ({story.targets[0]: kind.value} if suppressed else {})


@pytest.mark.parametrize("provider_seq", ["provider_seq + 1", "NULL"])
async def test_a_provider_speaks_of_its_own_deliveries_only(story: Story, provider_seq: str) -> None:
    """Not of those that another account of the project made, or nobody."""
    story.start("sent", "unknown")
    story.do(f"UPDATE deliveries SET provider_seq = {provider_seq}")  # noqa: S608  # see above

    await story.tell(*(story.receipt(K.COMPLAINED, person) for person in (0, 1)))

    assert story.ledger() == [("sent", None), ("unknown", None)]
    assert story.sums() == {"sent": 1, "unknown": 1}
    assert story.suppressed() == []
    assert story.waiting() == 0


@pytest.mark.parametrize(
    ("delivery_id", "recipient"),
    [
        ("", "person3@example.com"),
        ("", "ceo@example.com"),
        (str(RUN), "ceo@example.com"),
        (f"{RUN}-{2**62}", "ceo@example.com"),
        (f"{RUN + 1}-1", "person1@example.com"),
    ],
)
async def test_an_address_without_a_delivery_is_nobodys(story: Story, delivery_id: str, recipient: str) -> None:
    story.start("sent")
    await story.tell(story.receipt(K.COMPLAINED, delivery_id=delivery_id, recipient=recipient))
    assert story.suppressed() == []


async def test_what_waits_for_its_delivery_suppresses_nobody_meanwhile(story: Story) -> None:
    story.start("sent")
    story.do("UPDATE deliveries SET run = run + 1 WHERE run = %s", RUN)
    await story.tell(story.receipt(K.BOUNCED))
    assert (story.suppressed(), story.waiting()) == ([], 1)

    story.do("UPDATE deliveries SET run = run - 1")
    story.do("UPDATE receipts SET due_at = now()")
    await story.fold()
    assert (story.suppressed(), story.waiting()) == (["person1@example.com"], 0)


async def test_a_receipt_about_one_recipient_suppresses_no_other(story: Story) -> None:
    """Mailgun's signature covers a token alone: who has seen a call could write another address into it."""
    story.start("sent", "sent", "sent")
    await story.tell(
        story.receipt(K.COMPLAINED, 0, recipient="ceo@example.com"),
        story.receipt(K.COMPLAINED, 1, recipient="PERSON2@example.com"),
        story.receipt(K.COMPLAINED, 2, recipient=""),
    )
    assert story.suppressed() == ["person2@example.com", "person3@example.com"]


async def test_a_flood_of_one_project_holds_up_no_other_s(story: Story, settings: Settings) -> None:
    other = Factory(settings, project_id="other")
    await story.take(*(story.receipt(K.PENDING, 0, event=f"flood-{number}") for number in range(3_000)))
    await story.take(story.receipt(K.PENDING, 1), project_seq=other.project_seq)

    await story.fold()

    assert story.ask("SELECT project_seq FROM receipts WHERE folded_at IS NULL AND due_at <= now() GROUP BY 1") == [
        (story.factory.project_seq,)
    ]


async def test_phone_numbers_are_known_without_their_plus(story: Story) -> None:
    story.do("UPDATE providers SET channel = 'sms', kind = 'vonage'")
    story.do("UPDATE targets SET channel = 'sms', identifier = '+12065550100' WHERE seq = %s", story.targets[0])
    story.start("sent")

    await story.tell(story.receipt(K.UNSUBSCRIBED, delivery_id=str(RUN), recipient="12065550100"))

    assert story.ledger() == [("sent", "unsubscribed")]
    assert story.suppressed() == ["+12065550100"]


async def test_the_first_cause_stays(story: Story) -> None:
    story.start("sent")

    await story.tell(story.receipt(K.BOUNCED))
    await story.tell(story.receipt(K.COMPLAINED))

    assert story.ask("SELECT cause FROM suppressions") == [("bounced",)]


async def test_pages(story: Story) -> None:
    story.start(*["sent"] * 4)
    many: Sequence[Receipt] = [story.receipt(K.PENDING, number % 4, event=f"event-{number}") for number in range(1_001)]
    await story.take(*many)

    assert [await story.fold(), await story.fold(), await story.fold()] == [1_000, 1, 0]
    assert story.ledger() == [("sent", "pending")] * 4


async def test_a_message_whose_rows_are_locked_keeps_no_other_s_receipts_from_being_folded(
    story: Story, settings: Settings
) -> None:
    sums_held, delivery_held, free = RUN, RUN + 1, RUN + 2
    for run in (sums_held, delivery_held, free):
        story.start("sent", "sent", run=run)
    people = [(run, person) for run in (sums_held, delivery_held, free) for person in (0, 1)]
    await story.take(
        *(story.receipt(K.BOUNCED, delivery_id=f"{run}-{story.targets[person]}") for run, person in people)
    )
    story.do("UPDATE receipts SET received_at = now() - interval '4 days'")  # nor are they given up
    folded = "SELECT run, target_seq FROM deliveries WHERE receipt = 'bounced' ORDER BY 1, 2"
    context = TickContext(story.engine, settings, Ringer(settings))
    one, two = story.targets[:2]

    with story.factory.connect() as stranger, stranger.transaction():
        stranger.execute("SELECT FROM message_progress WHERE run = %s FOR UPDATE", [sums_held])
        stranger.execute("SELECT FROM deliveries WHERE run = %s AND target_seq = %s FOR UPDATE", [delivery_held, one])
        await fold(context)

        assert story.ask(folded) == [(delivery_held, two), (free, one), (free, two)]
        assert story.waiting() == 3
    story.do("UPDATE receipts SET due_at = now()")
    await fold(context)

    assert story.ask(folded) == [(run, story.targets[person]) for run, person in people]
    assert story.ask("SELECT sum(undelivered) FROM message_progress") == [(6,)]
    assert story.waiting() == 0


async def test_folded_receipts_are_forgotten_in_pages(story: Story) -> None:
    story.start("sent", "sent")
    await story.tell(*(story.receipt(K.PENDING, event=f"old-{number}") for number in range(5)))
    story.do("UPDATE receipts SET folded_at = now() - interval '31 days'")
    await story.tell(story.receipt(K.DELIVERED, 1))
    await story.take(story.receipt(K.DELIVERED, 0, event="waiting"))

    purged = []
    for _ in range(3):
        async with hot_transaction(story.engine) as connection:
            purged.append(await forget_receipts(connection, after_seconds=30 * 86_400, page=3))

    assert purged == [3, 2, 0]
    assert story.ask("SELECT count(*) FROM receipts") == [(2,)]


async def test_words_that_no_text_column_takes_are_made_to_fit(story: Story) -> None:
    story.start("sent")

    await story.tell(story.receipt(K.BOUNCED, event="e\x00\ud800", reason="said \x00 \udfff" + "x" * 9_999))

    ((reason,),) = story.ask("SELECT reason FROM deliveries WHERE run = %s", RUN)
    assert reason.startswith("said  ?x")
    assert len(reason) == 500
