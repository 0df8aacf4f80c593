"""Any order of planning, claiming, answering, dying, waking late and deleting ends with a clean verdict.

The machine plays the workers and a provider that writes down what it accepts; planner, claim, settling, recording and
sweep are the real ones, each step in a transaction of its own.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.cli.verdict import judge
from shared.db.queries.progress import Progress, read_progress
from shared.db.queries.record import Recording, was_recorded
from shared.db.session import create_engine, hot_transaction
from shared.domain.clock import DatabaseClock
from shared.domain.outcome import Accepted, AccountFault, Outcome, Refused, Retry, Unknown, UnknownRule
from shared.domain.status import DeliveryState
from shared.ids import ProjectSeq
from shared.settings import Settings
from tests.factories import Factory
from tests.integration.pipeline.conftest import LEASE_SECONDS, QUEUE, Bench, plan_next
from tests.unit.workers.batches import POLICY
from workers.batch import Ended, OpenBatch, Rebound, Result
from workers.claim import Claimer
from workers.fan_out import Planner
from workers.settle import Settling
from workers.window import Window

RECIPIENTS = 12

STATES = ("queued", "claimed", *DeliveryState)

PROMPT = replace(POLICY, base_seconds=0.0, account_fault_retry_seconds=0.0)

# what a provider answers, and whether it accepted the message then
ANSWERS: tuple[tuple[Outcome, bool], ...] = (
    (Accepted("id"), True),
    (Refused("no"), False),
    (Retry("busy", 0.0), False),
    (Unknown("timed out"), True),
    (Unknown("timed out"), False),
    (AccountFault("bad key"), False),
)


@dataclass(slots=True, eq=False)
class Held:
    """A batch in the hands of a worker; `in_flight` are marked and have no outcome on file."""

    batch: OpenBatch
    in_flight: list[int] = field(default_factory=list)


class Deliveries(RuleBasedStateMachine):
    """One campaign from its acceptance to its last outcome."""

    def __init__(self, bench: Bench, record: Path, runner: asyncio.Runner) -> None:
        super().__init__()
        self.bench = bench
        self.record = record
        self.runner = runner
        small = bench.settings.model_copy(update={"page_size": 5, "batch_size": 4})
        self.planner = Planner(bench.engine, small)
        self.clock = DatabaseClock()
        self.claimers = [Claimer(bench.engine, self.clock, Window(100), lease_seconds=LEASE_SECONDS) for _ in range(2)]
        self.held: list[Held] = []
        self.lost: list[Held] = []
        self.is_under_way = False  # something was sent: from now on it is worth disturbing
        self.run = 0

    @initialize()
    def accept_message(self) -> None:
        self._change("TRUNCATE batches, fan_outs")
        self._change("UPDATE providers SET enabled = true")
        self.run = self.bench.campaign(RECIPIENTS)
        self.plan()

    @rule()
    def plan(self) -> None:
        self.runner.run(plan_next(self.planner))

    @rule(claimer=st.sampled_from((0, 1)), room=st.integers(1, RECIPIENTS), is_excluded=st.booleans())
    def claim(self, claimer: int, room: int, *, is_excluded: bool) -> None:
        self._change("UPDATE batches SET due_at = now() WHERE state = 'due'")  # time flies
        excluded = [self.bench.provider_seq] if is_excluded else []
        claim = self.claimers[claimer].claim(QUEUE, turns=2, room=room, excluded_providers=excluded)
        for batch in self.runner.run(claim):
            assert batch.claimed.provider_seq not in excluded
            if (ending := _ending_of(batch)) is None:
                self.held.append(Held(batch))
            else:
                batch.mark_to, batch.is_closing = len(batch.claimed.targets), True
                left = batch.claimed.targets[batch.attempted_to :]
                assert self._write(batch, [(target, "", ending) for target in left])

    @precondition(lambda self: self.held)
    @rule(data=st.data(), count=st.integers(1, 3))
    def mark(self, data: st.DataObject, count: int) -> None:
        held = data.draw(st.sampled_from(self.held))
        batch, start = held.batch, held.batch.attempted_to
        batch.mark_to = min(start + count, len(batch.claimed.targets))
        assert self._write(batch, [])
        for target in batch.claimed.targets[start : batch.mark_to]:
            if batch.targets[target].expired:
                assert self._write(batch, [(target, "", Ended(DeliveryState.SKIPPED, "expired"))])
            else:
                held.in_flight.append(target)

    @precondition(lambda self: any(held.in_flight for held in self.held))
    @rule(data=st.data(), answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=3))
    def answer(self, data: st.DataObject, answers: list[tuple[Outcome, bool]]) -> None:
        held = data.draw(st.sampled_from([held for held in self.held if held.in_flight]))
        answered = list(zip(held.in_flight, answers, strict=False))
        self._accept(held, [target for target, (_, is_accepted) in answered if is_accepted])
        held.in_flight = held.in_flight[len(answered) :]
        assert self._write(held.batch, [(target, "", outcome) for target, (outcome, _) in answered])

    @precondition(lambda self: any(not held.in_flight for held in self.held))
    @rule(data=st.data())
    def put_down(self, data: st.DataObject) -> None:
        """Close what is done, give back what is not."""
        held = data.draw(st.sampled_from([held for held in self.held if not held.in_flight]))
        if held.batch.unmarked:
            held.batch.release_at = self.clock.now()
        else:
            held.batch.is_closing = True
        assert self._write(held.batch, [])
        self.held.remove(held)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), unknown_rule=st.sampled_from(UnknownRule))
    def freeze(self, data: st.DataObject, unknown_rule: UnknownRule) -> None:
        """A worker stops with some of its recipients accepted, until its lease is over and swept up."""
        held = data.draw(st.sampled_from(self.held))
        if held.in_flight:
            self._accept(held, data.draw(st.lists(st.sampled_from(held.in_flight), unique=True)))
        self.bench.run_out(held.batch.claimed)
        self.runner.run(self.bench.recover(unknown_rule, max_resends=PROMPT.max_resends))
        self.held.remove(held)
        self.lost.append(held)

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        """It comes back with its outcomes, and is refused."""
        held = data.draw(st.sampled_from(self.lost))
        assert not self._write(held.batch, [(target, "", Accepted()) for target in held.in_flight])

    @precondition(lambda self: self.is_under_way)
    @rule(position=st.integers(0, RECIPIENTS - 1))
    def expire_target(self, position: int) -> None:
        self._change(
            "UPDATE targets SET expired = true WHERE seq IN (SELECT target_seq FROM recipients WHERE run = %s"
            " ORDER BY target_seq OFFSET %s LIMIT 1)",
            self.run,
            position,
        )

    @precondition(lambda self: self.is_under_way)
    @rule()
    def disable_provider(self) -> None:
        self._change("UPDATE providers SET enabled = false WHERE id = 'fcm'")

    @precondition(lambda self: self.is_under_way)
    @rule()
    def delete_message(self) -> None:
        self._change("UPDATE messages SET deleted_at = now() WHERE run = %s", self.run)

    @invariant()
    def every_planned_recipient_has_one_state(self) -> None:
        rows = self._read("SELECT state, count(*) FROM recipients WHERE run = %s GROUP BY state", self.run)
        counts = Counter({str(state): int(str(count)) for state, count in rows})
        ((planned, message_id, is_deleted),) = self._read(
            "SELECT planned, id, deleted_at IS NOT NULL FROM message_progress JOIN messages USING (run) WHERE run = %s",
            self.run,
        )
        assert counts.total() == planned
        ((open_batches, batches_left),) = self._read(
            "SELECT (SELECT count(*) FROM batches WHERE run = %s) + (SELECT count(*) FROM fan_outs WHERE run = %s),"
            " batches_left FROM message_progress WHERE run = %s",
            self.run,
            self.run,
            self.run,
        )
        assert open_batches == batches_left
        if not is_deleted:
            progress = self.runner.run(self._progress(message_id))
            assert {state: getattr(progress, state) for state in STATES if counts[state]} == counts

    def teardown(self) -> None:
        """Everybody goes home; others finish what is left, and the judge looks at it."""
        for held in self.held:
            self.bench.run_out(held.batch.claimed)
        self.runner.run(self.bench.recover(max_resends=PROMPT.max_resends))
        while self._read("SELECT 1 FROM fan_outs UNION ALL SELECT 1 FROM batches LIMIT 1"):
            self.held = []
            self.plan()
            self.claim(0, RECIPIENTS, is_excluded=False)
            for held in self.held:
                batch = held.batch
                left = batch.claimed.targets[batch.attempted_to :]
                self._accept(held, left)
                batch.mark_to, batch.is_closing = len(batch.claimed.targets), True
                assert self._write(batch, [(target, "", Accepted()) for target in left])
        with self.bench.factory.connect() as connection:
            assert judge(connection, self.record, self.run).violations == []
        assert not self._read("SELECT FROM deliveries WHERE run = %s AND resends > %s", self.run, PROMPT.max_resends)

    def _write(self, batch: OpenBatch, results: list[Result]) -> bool:
        """As the recorder does it. False: the claim is stale."""
        recording = Recording()
        recording.changes.append(Settling(recording, batch, PROMPT, self.clock.now()).settle(results))
        if self.runner.run(self.bench.record(recording)).stale:
            return False
        assert self.runner.run(self._was_recorded(recording))  # what a lost connection would have asked
        batch.attempted_to = max(batch.attempted_to, batch.mark_to)
        batch.recorded_total += len(results)
        return True

    def _accept(self, held: Held, targets: list[int]) -> None:
        """The provider's side."""
        self.is_under_way = True
        with self.record.open("a") as lines:
            for target in targets:
                address = held.batch.targets[target].identifier
                lines.write(json.dumps({"recipient": address, "title": ""}) + "\n")

    def _change(self, statement: str, *parameters: object) -> None:
        self._execute(statement, parameters)

    def _read(self, question: str, *parameters: object) -> list[tuple[object, ...]]:
        return self._execute(question, parameters, reads=True)

    def _execute(
        self, statement: str, parameters: tuple[object, ...], *, reads: bool = False
    ) -> list[tuple[object, ...]]:
        async def execute() -> list[tuple[object, ...]]:
            async with hot_transaction(self.bench.engine) as connection:
                cursor = await connection.execute(statement.encode(), parameters)
                return await cursor.fetchall() if reads else []

        return self.runner.run(execute())

    async def _was_recorded(self, recording: Recording) -> bool:
        async with hot_transaction(self.bench.engine) as connection:
            return await was_recorded(connection, recording)

    async def _progress(self, message_id: object) -> Progress:
        async with hot_transaction(self.bench.engine) as connection:
            progress = await read_progress(connection, ProjectSeq(self.bench.factory.project_seq), str(message_id))
        assert progress is not None
        return progress


def _ending_of(batch: OpenBatch) -> Ended | Rebound | None:
    """As the deliverer decides it."""
    if batch.message.is_deleted:
        return Ended(DeliveryState.CANCELLED, "deleted")
    return Rebound() if batch.provider is None else None


def test_any_order_of_events_ends_with_a_clean_verdict(settings: Settings, tmp_path: Path) -> None:
    # derandomized: a suite that everybody runs tells the same each time
    wanted = hypothesis_settings(max_examples=20, stateful_step_count=25, deadline=None, derandomize=True)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        engine = create_engine(settings, role="test")
        bench = Bench(settings, Factory(settings), engine)
        bench.factory.provider("fcm", "spare", credentials={})
        (record := tmp_path / "record.jsonl").touch()

        class Prepared(Deliveries):
            def __init__(self) -> None:
                super().__init__(bench, record, runner)

        run_state_machine_as_test(Prepared, settings=wanted)
        runner.run(engine.dispose())
