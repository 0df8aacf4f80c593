"""The Celery side of a worker: the queues it hears, and the one task that tells a process that somebody rang."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import structlog
from billiard.util import get_logger
from celery import Celery
from celery.apps import worker
from celery.exceptions import WorkerShutdown
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from celery.worker import consumer
from prometheus_client import multiprocess

from shared.logging import configure_logging
from shared.queue.broker import DRAIN_TASK, create_celery
from shared.settings import Settings
from workers.process import WorkerProcess

PR_SET_PDEATHSIG = 1

LONGEST_RECONNECT_SECONDS = 5.0
"""Between two tries to reach a broker that is away: so work goes on that soon after it is back."""

REFUSED_PAUSE_SECONDS = 2.0
"""Before a broker that can be reached, but refuses what we ask of it, is asked again."""

log = structlog.get_logger()


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Celery's own waits longer and longer, up to half a minute."""

    is_connected = False

    def ensure_connected(self, conn: Any) -> Any:
        type(self).is_connected = False
        ensure = conn.ensure_connection

        def ensure_soon(*arguments: Any, callback: Callable[[], None]) -> Any:
            def look_around() -> None:
                callback()
                self._end_without_children()

            return ensure(*arguments, callback=look_around, interval_max=LONGEST_RECONNECT_SECONDS)

        conn.ensure_connection = ensure_soon
        return super().ensure_connected(conn)

    def on_ready(self) -> None:
        super().on_ready()
        type(self).is_connected = True

    def _end_without_children(self) -> None:
        """While it looks for its broker the parent replaces no child that died: with none left it is of no use."""
        if self.pool is None:
            return
        children = self.pool._pool._pool  # noqa: SLF001  # Celery shows them nowhere else
        if not any(child.is_alive() for child in children):
            log.error("no process is left, and the broker is away: this worker ends, to be started again")
            raise WorkerShutdown(1)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, self.channel_errors):
            time.sleep(REFUSED_PAUSE_SECONDS)


def create_worker_app(settings: Settings, queues: tuple[str, ...]) -> Celery:
    """A Celery application that consumes `queues`; each prefork child opens a WorkerProcess of its own."""
    celery = create_celery(settings, main="workers")
    celery.conf.worker_consumer = Consumer
    worker.safe_say = _say_nothing
    celery.conf.task_queues = [queue for queue in celery.conf.task_queues if queue.name in queues]
    opened: list[WorkerProcess] = []  # empty in the parent, one in each child

    @setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
    def configure(**_: Any) -> None:
        configure_logging(settings, role="worker")
        get_logger().propagate = True  # of a pool's processes; else the log would have lines that are no JSON

    @worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
    def open_process(**_: Any) -> None:
        _die_with_parent()
        process = WorkerProcess(settings, queues)
        process.start()
        opened.append(process)

    @worker_process_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
    def close_process(**_: Any) -> None:
        while opened:
            opened.pop().stop()
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]

    @celery.task(name=DRAIN_TASK)  # type: ignore[untyped-decorator]
    def drain(queue: str) -> None:
        """Someone says that `queue` holds due work. Safe to repeat, lose or delay: the claim decides."""
        structlog.contextvars.bind_contextvars(rung=queue)
        opened[0].hear()

    return celery


def _say_nothing(_words: str, _file: object = None) -> None:
    """Celery's words on being told to stop, past every logger: the log would have lines that are no JSON."""


def _die_with_parent() -> None:
    """A child whose Celery parent was killed would go on for ever, unseen by the supervisor: end it with the parent."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
