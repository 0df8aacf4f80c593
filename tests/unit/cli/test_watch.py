"""Progress as a person sees it."""

import io
import re

import pytest
from rich.console import Console

from shared.cli import watch
from shared.cli.messages import exit_code_of
from shared.cli.watch import FINAL_STATES, OPEN_STATES, Board, MessageProgress, Pace, describe_counts, watch_messages
from shared.errors import NotReachable


def progress(*, is_planned: bool = True, is_finished: bool = False, **counts: int) -> MessageProgress:
    by_state = {state: counts.get(state, 0) for state in (*FINAL_STATES, *OPEN_STATES)}
    return MessageProgress(
        planned=sum(by_state.values()), counts=by_state, resends=0, is_planned=is_planned, is_finished=is_finished
    )


def test_the_wire_is_read() -> None:
    wire = {state: number for number, state in enumerate((*FINAL_STATES, *OPEN_STATES))}
    read = MessageProgress.read(
        {**wire, "planned": 28, "resends": 2, "plannedAt": "2030", "finishedAt": None, "errors": ["no"]}
    )
    assert read.counts == wire
    assert (read.planned, read.done, read.resends, read.errors) == (28, 15, 2, ("no",))
    assert (read.is_planned, read.is_finished) == (True, False)


def test_counts_name_only_states_that_somebody_is_in() -> None:
    assert describe_counts(progress(sent=1190, failed=10, queued=18_800)) == (
        "1,200 of 20,000: 1,190 sent, 10 failed, 18,800 queued"
    )
    assert describe_counts(progress(is_planned=False)) == "0 of 0 planned so far"


def test_the_rate_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    for second in range(60):
        pace.add(float(second), 100 * second if second < 40 else 4000 + 10 * (second - 40))
    assert pace.per_second == pytest.approx(10)
    assert pace.seconds_left(progress(sent=4190, queued=100)) == pytest.approx(10)


def test_time_left_is_told_only_when_it_can_be_known() -> None:
    pace = Pace()
    pace.add(0.0, 0)
    assert pace.seconds_left(progress(queued=5)) is None  # nothing has moved yet
    pace.add(1.0, 5)
    assert pace.seconds_left(progress(sent=5, queued=5, is_planned=False)) is None  # more may come


def test_elsewhere_than_on_a_terminal_lines_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LINE_INTERVAL_SECONDS", 0.0)
    output = io.StringIO()
    with Board(Console(file=output, width=200)) as board:
        for state in (progress(queued=10), progress(queued=10), progress(sent=10, is_finished=True)):
            board.show("[news]", state)  # a title is no markup
    first, last = output.getvalue().splitlines()
    assert first.startswith("[news]  0 of 10: 10 queued")
    assert last == "[news]  10 of 10: 10 sent  finished"


def test_lines_of_one_message_are_seconds_apart() -> None:
    output = io.StringIO()
    with Board(Console(file=output, width=200)) as board:
        for sent in range(5):
            board.show("news", progress(sent=sent, queued=5 - sent))
        board.show("news", progress(sent=5, is_finished=True))
    assert len(output.getvalue().splitlines()) == 2


def test_on_a_terminal_each_message_has_a_bar() -> None:
    output = io.StringIO()
    with Board(Console(file=output, force_terminal=True, width=120)) as board:
        board.show("news", progress(sent=4, queued=6))
        board.show("alert", progress(sent=1, is_finished=True))
        board.say("a worker was killed")
    drawn = output.getvalue()
    assert "a worker was killed" in drawn
    assert "4 of 10: 4 sent, 6 queued" in drawn
    assert "finished" in drawn


@pytest.mark.parametrize("width", [60, 80, 120, 160, 200])
def test_bar_counts_and_pace_have_room_on_every_terminal(width: int) -> None:
    output = io.StringIO()
    with Board(Console(file=output, force_terminal=True, width=width, no_color=True)) as board:
        board.show("0683f0a1b2c3d4e5f607 Our news of this spring, at last", progress(sent=39_698, queued=9_852))
        board.show("alert", progress(sent=1, is_finished=True))
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in output.getvalue().splitlines()]
    assert any(line.startswith("0683f0a1b2c3d4") and line.count("━") >= 8 and "0/s" in line for line in lines)
    assert any("39,698 of 49,550: 39,698 sent, 9,852 queued" in line for line in lines)
    assert any(line.startswith("alert") and "finished" in line for line in lines)
    assert max(map(len, lines)) <= width


def test_watching_ends_with_the_last_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL_SECONDS", 0.0)
    answers = {"a": iter([1, 2, 3]), "b": iter([1, 2])}
    ends = {"a": 3, "b": 2}

    def fetch(message_id: str) -> MessageProgress:
        sent = next(answers[message_id])  # a finished message is not asked for again
        return progress(sent=sent, is_finished=sent == ends[message_id])

    with Board(Console(file=io.StringIO())) as board:
        finished = watch_messages({"a": "A", "b": "B"}, fetch, board=board)
    assert {message_id: state.done for message_id, state in finished.items()} == {"a": 3, "b": 2}


def test_an_api_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL_SECONDS", 0.0)
    failures = iter([True, True, False])

    def fetch(_message_id: str) -> MessageProgress:
        if next(failures):
            raise NotReachable
        return progress(sent=1, is_finished=True)

    with Board(Console(file=io.StringIO())) as board:
        assert watch_messages({"a": "A"}, fetch, board=board)["a"].is_finished


def test_an_api_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.0)

    def fetch(_message_id: str) -> MessageProgress:
        raise NotReachable

    with Board(Console(file=io.StringIO())) as board, pytest.raises(NotReachable):
        watch_messages({"a": "A"}, fetch, board=board)


@pytest.mark.parametrize(
    ("finished", "code"),
    [
        ([progress(sent=10)], 0),
        ([progress(sent=9, skipped=1)], 0),
        ([progress(sent=9, failed=1)], 3),
        ([progress(sent=9, unknown=1)], 3),
        ([progress(failed=10)], 1),
        ([progress(skipped=10)], 1),
        ([progress()], 1),
        ([progress(sent=10), progress(failed=10)], 3),
    ],
)
def test_the_exit_code_tells_all_partly_or_nobody(finished: list[MessageProgress], code: int) -> None:
    assert exit_code_of(finished) == code
