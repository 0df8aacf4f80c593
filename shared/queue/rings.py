"""Rings: tell the workers that a queue may hold due work. Off the caller's path, coalesced, never certain.

A ring may be lost, doubled or late; rows decide what happens, and the sweep rings for whatever is left lying.
"""

import contextlib
import threading
import time
from typing import Any

import structlog

from shared import metrics
from shared.queue.broker import DRAIN_TASK, RING_EXPIRES_SECONDS, create_celery
from shared.settings import Settings

COALESCE_SECONDS = 0.02
PAUSE_AFTER_FAILURE_SECONDS = 1.0
MAX_DEPTH = 16
"""Rings a queue may hold. Each wakes one slot, and a slot that finds more work than it can take rings again."""

ONE_TRY = {"max_retries": 0}
"""Of a connection: kombu would go on for seconds while newer rings wait, and for as long when the process stops."""

log = structlog.get_logger()


class Ringer:
    """One per process. `ring` returns at once and never raises; a thread of its own talks to the broker."""

    def __init__(self, settings: Settings) -> None:
        self._celery = create_celery(settings, main="ringer")
        self._wanted: dict[str, int] = {}
        self._lock = threading.Lock()
        self._has_wanted = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Publish what is wanted still, if the broker answers, and end the thread."""
        self._stopping = True
        self._has_wanted.set()
        self._thread.join(timeout=2)

    def ring(self, queue: str, count: int = 1) -> None:
        """Say that `queue` may hold due work for `count` slots. Rings within some 20 ms become one publish."""
        with self._lock:
            if queue in self._wanted:
                metrics.RINGS.labels("coalesced").inc()
            self._wanted[queue] = min(MAX_DEPTH, max(count, self._wanted.get(queue, 0)))
        self._has_wanted.set()

    def _take_wanted(self) -> dict[str, int]:
        with self._lock:
            wanted, self._wanted = self._wanted, {}
            self._has_wanted.clear()
        return wanted

    def _run(self) -> None:
        connection: Any = None  # kombu's Connection; its methods carry no types
        while not self._stopping or self._wanted:
            self._has_wanted.wait()
            if not self._stopping:
                time.sleep(COALESCE_SECONDS)
            wanted = self._take_wanted()
            try:
                if connection is None:
                    connection = self._celery.connection_for_write(transport_options=ONE_TRY)
                for queue, count in wanted.items():
                    self._publish(connection, queue, count)
            except Exception as error:  # noqa: BLE001  # a thread's edge: whatever the broker's client raises
                metrics.RINGS.labels("failed").inc(len(wanted))
                # not "was not published": it may have been, and that is fine too
                log.warning("ring failed", queues=sorted(wanted), error=type(error).__name__)
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.release()
                    connection = None
                if self._stopping:
                    return
                time.sleep(PAUSE_AFTER_FAILURE_SECONDS)
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.release()

    def _publish(self, connection: Any, queue: str, count: int) -> None:
        depth = _depth(connection, queue)
        missing = min(count, MAX_DEPTH - depth) if depth else count
        if missing <= 0:
            metrics.RINGS.labels("skipped").inc()
            return
        for _ in range(missing):
            self._celery.send_task(
                DRAIN_TASK,
                args=[queue],
                queue=queue,
                expiration=RING_EXPIRES_SECONDS,
                ignore_result=True,
                connection=connection,
                retry=False,
            )
        metrics.RINGS.labels("published").inc(missing)


def _depth(connection: Any, queue: str) -> int:
    """Rings waiting in the queue. Declares it where the broker does not know it: idempotent, as the workers do it."""
    return int(connection.default_channel.queue_declare(queue=queue, durable=True, auto_delete=False).message_count)
