"""Queue names: one per provider kind and lane, and the patterns a worker may be started with."""

import pytest

from shared.domain.queues import DELIVERY_QUEUES, FAN_OUT_QUEUE, PROVIDER_KINDS, DeliveryQueue, parse_delivery_queue
from shared.domain.status import Lane
from shared.errors import ConfigurationError
from shared.queue.broker import QUEUE_NAMES, choose_queues


def test_a_queue_is_named_by_channel_kind_and_lane() -> None:
    assert DeliveryQueue("smtp", Lane.BULK).name == "email.smtp.bulk"


@pytest.mark.parametrize("queue", DELIVERY_QUEUES, ids=lambda queue: queue.name)
def test_a_name_leads_back_to_its_queue(queue: DeliveryQueue) -> None:
    assert parse_delivery_queue(queue.name) == queue


def test_there_is_one_queue_for_each_kind_and_lane_and_bulk_comes_last() -> None:
    assert len(set(QUEUE_NAMES)) == len(QUEUE_NAMES) == 1 + len(PROVIDER_KINDS) * len(Lane)
    assert [queue.lane for queue in DELIVERY_QUEUES] == sorted(
        (queue.lane for queue in DELIVERY_QUEUES), key=list(Lane).index
    )
    assert list(Lane)[-1] is Lane.BULK


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["*"], QUEUE_NAMES),
        (["fan_out"], (FAN_OUT_QUEUE,)),
        (["push.fcm.bulk", "fan_out"], (FAN_OUT_QUEUE, "push.fcm.bulk")),
        (["email.smtp.*"], ("email.smtp.critical", "email.smtp.transactional", "email.smtp.bulk")),
        (["push.*.critical", "push.fcm.critical"], ("push.fcm.critical", "push.apns.critical")),
    ],
)
def test_a_worker_hears_the_queues_that_match_in_the_order_of_all(patterns: list[str], chosen: tuple[str, ...]) -> None:
    assert choose_queues(patterns) == chosen


def test_a_pattern_that_matches_nothing_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'email\.smpt\.bulk', 'Fan_out'"):
        choose_queues(["fan_out", "email.smpt.bulk", "Fan_out"])
