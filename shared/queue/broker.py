"""The Celery application: how every process that rings or is rung reaches the broker.

JSON only, no results, no retries, no ETA, separate queues instead of priorities: a task is a doorbell, and the rows
behind it decide what happens (reliability rules R2, R13 to R15, R19, R20).
"""

from celery import Celery
from kombu import Exchange, Queue

from shared.domain.queues import DELIVERY_QUEUES, FAN_OUT_QUEUE
from shared.errors import ConfigurationError
from shared.queue.transports import (
    HEARTBEAT_CHECKS,
    HEARTBEAT_SECONDS,
    TIMEOUT_SECONDS,
    tls_options,
    transport_options,
)
from shared.settings import Settings

DRAIN_TASK = "queue.drain"
"""The only task: its argument is a queue's name."""

RING_EXPIRES_SECONDS = 10
"""A ring nobody heard by then is worth nothing: the sweep rings again. Counted by the broker's own clock, where it can:
by Celery's way, a time of the ringer's clock, a worker whose clock is that much ahead would hear no ring at all.
"""

QUEUE_NAMES: tuple[str, ...] = (FAN_OUT_QUEUE, *(queue.name for queue in DELIVERY_QUEUES))
"""Every queue, in the order in which a worker's free room is given."""


def choose_queues(patterns: list[str]) -> tuple[str, ...]:
    """The queues that match any of the patterns (`email.*`, `*.transactional`, `fan_out`), in QUEUE_NAMES' order."""
    from fnmatch import fnmatchcase  # noqa: PLC0415  # needed once, at a worker's start

    chosen = tuple(name for name in QUEUE_NAMES if any(fnmatchcase(name, pattern) for pattern in patterns))
    unmatched = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in QUEUE_NAMES)]
    if unmatched:
        raise ConfigurationError(
            f"No queue matches {', '.join(map(repr, unmatched))}.",
            hint="Queues are `fan_out` and CHANNEL.KIND.LANE, for example email.smtp.bulk; * stands for any part.",
        )
    return chosen


def create_celery(settings: Settings, *, main: str) -> Celery:
    """A Celery application with our rules; no connection is made yet.

    Tasks have no time limit: while Celery's parent process looks for its broker it does not hear that a task has ended,
    and would cut off, in the end kill, a process that may be delivering.
    """
    url = settings.require_broker_url()
    celery = Celery(main, broker=url, set_as_current=False)
    celery.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=False,  # a lost ring is rung again; a redelivered one could crash-loop
        task_default_queue=FAN_OUT_QUEUE,
        task_create_missing_queues=False,
        # the default exchange: messages to a named one can vanish silently after FLUSHALL (R14)
        task_queues=[Queue(name, Exchange(""), routing_key=name, durable=True) for name in QUEUE_NAMES],
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,  # ours are acknowledged early, so none is
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_max_tasks_per_child=5_000,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a broker that is full, or a replica for now, refuses: not for ever
        broker_pool_limit=1,
        broker_connection_timeout=TIMEOUT_SECONDS,
        broker_heartbeat=HEARTBEAT_SECONDS,
        broker_heartbeat_checkrate=HEARTBEAT_CHECKS,
        broker_transport_options=transport_options(url),
        broker_use_ssl=tls_options(url),
        enable_utc=True,
    )
    return celery
