"""The broker broken in every way, under campaigns: nobody is lost, nobody has two copies, work goes on in seconds."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.flow.broker.conftest import Site
from tests.processes import wait_until

RECIPIENTS = 200

UNRUNG_SECONDS = 12.0
"""A process that hears no ring looks by itself every few seconds; the machine may be busy."""

pytestmark = pytest.mark.timeout(180)


def test_while_connections_are_half_open_messages_are_delivered_and_later_everybody_is_back(site: Site) -> None:
    site.deliver_one(seconds=20)
    run = site.campaign(RECIPIENTS)
    assert site.broker.proxy.leave_half_open() >= len(("API", "worker-1", "worker-2"))

    # a consumer of RabbitMQ takes longer to notice: two heartbeats of five seconds must be missed
    site.deliver_one(seconds=8)

    site.finish(run)
    api_log = site.installation.system.supervisor.log_of("api")
    wait_until(partial(_says, api_log, "broker answers again"), seconds=25)


def test_campaigns_go_on_while_the_broker_is_frozen_wiped_and_away(site: Site) -> None:
    run = site.campaign(RECIPIENTS)
    with site.broker.frozen():
        site.deliver_one(seconds=UNRUNG_SECONDS)
    site.broker.wipe()
    for _ in range(3 if site.broker.kind == "redis" else 1):  # RabbitMQ takes 4 s to start
        with site.broker.away():
            site.finish(site.campaign(RECIPIENTS // 4), seconds=UNRUNG_SECONDS)
    site.finish(run)


def test_a_campaign_survives_a_redis_that_is_full(site: Site) -> None:
    if site.broker.kind != "redis":
        pytest.skip("RabbitMQ holds publishers back instead")
    with site.broker.full(), redis.Redis.from_url(site.broker.server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)  # so that all have to connect while it is full
        run = site.campaign(RECIPIENTS)
        wait_until(lambda: any("ring refused by the broker" in log.read_text() for log in site.logs()))
    site.finish(run)


def test_a_worker_that_lost_its_process_while_the_broker_was_away_is_replaced(site: Site) -> None:
    if site.broker.kind != "redis":
        pytest.skip("the same code, and RabbitMQ takes 4 s to start")
    supervisor = site.installation.system.supervisor
    log = supervisor.log_of("worker-1")
    said_before = log.stat().st_size
    with site.broker.away():
        wait_until(partial(_says, log, "Cannot connect to", said_before), seconds=20)
        _, child = supervisor.processes_of("worker-1")
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: supervisor.process_id("worker-1") is None, seconds=20)
        site.installation.replace_worker("worker-1")  # which finds no broker
        wait_until(partial(_says, log, "the worker starts without its broker", said_before), seconds=20)

    site.finish(site.campaign(RECIPIENTS))


def test_what_was_said_meanwhile_is_json_and_nothing_was_left_behind(site: Site) -> None:
    """The last of these tests: what the faults before it made everybody write."""
    for log in site.logs():
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        for lost, found in (("broker does not answer, rings are late", "broker answers again"),):
            assert events.count(lost) <= events.count(found) + 1  # once each time, not once a second
    scratch = site.installation.system.directory.path / "scratch"
    assert not [file for file in scratch.rglob("*") if file.is_file() and b"queue.drain" in file.read_bytes()]


def _says(log: Path, words: str, read_from: int = 0) -> bool:
    """Behind so many bytes."""
    return words.encode() in log.read_bytes()[read_from:]
