import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigurationError
from shared.simulator.record import Capture, Record
from shared.simulator.seen import SeenSet
from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import FcmClient, RawSmtp
from tests.integration.simulator.conftest import until


def capture(recipient: str = "device", key: str = "message", **fields: Any) -> Capture:
    return Capture(provider="fcm", recipient=recipient, message="id", key=key, title="Title", **fields)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def test_a_line_is_on_file_before_its_reply_arrives(simulator: Simulator, fcm: FcmClient) -> None:
    for number in range(20):
        await asyncio.to_thread(fcm.send, {"token": f"device-{number}"})
        assert lines_of(simulator.record.path)[-1]["recipient"] == f"device-{number}"


async def test_a_line_without_a_reply_is_on_file_soon(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.append(capture())

    async with asyncio.timeout(1):
        await until(lambda: bool(lines_of(record.path)))

    record.close()


async def test_copies_are_counted_by_recipient_and_key(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    for recipient, key in [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")]:
        record.append(capture(recipient, key))
    record.count("fcm", "dead_address")

    assert record.tallies["fcm"].describe() == {
        "captured": 5,
        "recipients": 2,
        "copies": 2,
        "outcomes": {"accepted": 5, "dead_address": 1},
    }
    assert [record.copies("fcm", *pair) for pair in [("a", "1"), ("a", "2"), ("b", "2")]] == [3, 1, 0]
    assert [entry.is_copy for entry in record.entries()] == [True, False, False, True, False]
    record.close()


async def test_a_new_start_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    first = Record(tmp_path / "record.jsonl")
    first.append(capture("a"))
    first.append(capture("b", outcome="dropped"))
    first.close()

    second = Record(tmp_path / "record.jsonl")
    second.append(capture("a"))
    second.close()

    assert [line["n"] for line in lines_of(second.path)] == [1, 2, 3]
    assert second.tallies["fcm"].describe() == {
        "captured": 3,
        "recipients": 2,
        "copies": 1,
        "outcomes": {"accepted": 2, "dropped": 1},
    }


async def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    first = Record(tmp_path / "record.jsonl")
    first.append(capture("a"))
    first.close()
    with first.path.open("ab") as file:
        file.write(b'{"n": 2, "recip')

    second = Record(tmp_path / "record.jsonl")
    second.append(capture("b"))
    second.close()

    assert [(line["n"], line["recipient"]) for line in lines_of(second.path)] == [(1, "a"), (2, "b")]


async def test_clearing_starts_a_new_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.append(capture("a"))

    record.clear()
    assert list(record.entries()) == []
    assert record.tallies == {}
    assert record.copies("fcm", "a", "message") == 0
    record.append(capture("b"))
    assert record.read(2) is not None
    record.close()

    assert [line["recipient"] for line in lines_of(tmp_path / "record-1.jsonl")] == ["a"]
    assert [(line["n"], line["recipient"]) for line in lines_of(record.path)] == [(2, "b")]


async def test_numbers_grow_over_a_cleared_record_and_a_restart(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.append(capture())
    record.clear()
    record.close()

    again = Record(tmp_path / "record.jsonl")
    assert again.append(capture()) == 2
    again.close()


async def test_lists_hold_the_newest_and_counts_hold_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.simulator.record.KEPT_ENTRIES", 10)
    record = Record(tmp_path / "record.jsonl")
    for number in range(25):
        record.append(capture(f"device-{number}"))

    assert [entry.n for entry in record.entries()] == list(range(25, 15, -1))
    assert record.read(15) is None
    line = record.read(16)
    assert line is not None
    assert line["recipient"] == "device-15"
    assert record.tallies["fcm"].captured == 25
    record.close()


async def test_a_directory_has_one_simulator(simulator: Simulator) -> None:
    with pytest.raises(ConfigurationError, match="Another simulator is using"):
        async with Simulator.running(simulator.directory):
            pass


async def test_a_restarted_simulator_knows_its_tokens_accounts_and_mail(tmp_path: Path) -> None:
    async with Simulator.running(tmp_path) as simulator:
        client = FcmClient(simulator.fcm_endpoint, simulator.ca_file)
        account = simulator.service_account("demo")
        await asyncio.to_thread(client.authorize, account)
        await asyncio.to_thread(client.send, {"token": "device", "notification": {"title": "x"}})
        authority = simulator.ca_file.read_bytes()

    async with Simulator.running(tmp_path) as simulator:
        client.endpoint = simulator.fcm_endpoint
        answer = await asyncio.to_thread(client.send, {"token": "device", "notification": {"title": "x"}})

        assert answer.status == 200
        assert simulator.record.tallies["fcm"].copies == 1
        assert simulator.ca_file.read_bytes() == authority
        assert simulator.service_account("demo")["private_key"] == account["private_key"]
        assert simulator.service_account("demo")["client_email"] == account["client_email"]
        await asyncio.to_thread(client.authorize, simulator.service_account("demo"))


async def test_resent_content_counts_as_a_copy_though_its_lifetime_shrank(simulator: Simulator, fcm: FcmClient) -> None:
    def message(title: str, ttl: str) -> dict[str, Any]:
        return {"token": "device", "notification": {"title": title}, "android": {"ttl": ttl}}

    for title, ttl in [("one", "3600s"), ("one", "3540s"), ("two", "3600s")]:
        await asyncio.to_thread(fcm.send, message(title, ttl))

    assert simulator.record.tallies["fcm"].copies == 1


async def test_a_stopping_simulator_says_goodbye_and_leaves_no_ready_file(tmp_path: Path) -> None:
    async with Simulator.running(tmp_path) as simulator:
        raw = await asyncio.to_thread(RawSmtp, simulator.smtp_endpoint)
        assert json.loads((tmp_path / "simulator.json").read_bytes())["smtp"] == simulator.smtp_endpoint

    assert await asyncio.to_thread(raw.reply) == b"421 4.3.2 The simulator is stopping"
    assert await asyncio.to_thread(raw.reply) == b""
    raw.__exit__()
    assert not (tmp_path / "simulator.json").exists()


def test_the_set_of_hashes_agrees_with_pythons_own() -> None:
    chance = random.Random(5)
    members = [chance.randrange(-(2**63), 2**63) for _ in range(20_000)] + [0, -1, 1, 2**64 - 1]
    seen, expected = SeenSet(), set()
    for member in members + members[:500]:
        key = member % 2**64 or 1
        assert seen.add(member) == (key not in expected)
        expected.add(key)

    assert len(seen) == len(expected)
    assert all(member in seen for member in members)
    assert not any(member + 12345 in seen for member in members[:1000] if (member + 12345) % 2**64 not in expected)
