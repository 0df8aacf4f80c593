"""Somebody waits for a transactional message: a bulk campaign at a slow provider must not be in its way."""

import time

from tests.flow.deliver.conftest import Desk

WITHIN_SECONDS = 5.0


def _send_one(desk: Desk, people: str, number: int, *, channel: str) -> int:
    return desk.send(channel=channel, users=[f"{people}-{number}"], lane="transactional")


def test_single_messages_flow_while_a_campaign_crawls(desk: Desk) -> None:
    crowd = desk.people(1_000, channel="push")
    readers, phones = desk.people(2, channel="email"), desk.people(2, channel="push")
    desk.installation.set_faults(fcm={"latency_ms": 1_000})
    campaign = desk.send(crowd, channel="push")
    desk.until_under_way(campaign)

    for number in (1, 2):
        began = time.monotonic()
        mail = _send_one(desk, readers, number, channel="email")
        push = _send_one(desk, phones, number, channel="push")
        for run in (mail, push):
            verdict = desk.finish(run)
            assert verdict.sent == 1
        assert time.monotonic() - began < WITHIN_SECONDS

    assert desk.states(campaign)["queued"] > 0
    desk.do("UPDATE messages SET deleted_at = now() WHERE run = %s", campaign)
    desk.finish(campaign)
