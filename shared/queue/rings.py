"""Rings: tell the workers that a queue may hold due work. Off the caller's path, coalesced, never certain.

A ring may be lost, doubled or late; rows decide what happens, and the sweep rings for whatever is left lying.
"""

import contextlib
import threading
import time
from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from shared import metrics
from shared.domain.queues import FAN_OUT_QUEUE
from shared.queue.broker import DRAIN_TASK, RING_EXPIRES_SECONDS, create_celery
from shared.queue.transports import HEARTBEAT_SECONDS, TIMEOUT_SECONDS
from shared.settings import Settings

COALESCE_SECONDS = 0.02
PAUSE_AFTER_FAILURE_SECONDS = 1.0
MAX_DEPTH = 16
"""Rings a queue may hold. Each wakes one slot, and a slot that finds more work than it can take rings again."""

LOOK_SECONDS = HEARTBEAT_SECONDS / 2
"""A connection without rings is asked that often whether it is still one, and RabbitMQ hears that we are."""

WATCH_SECONDS = 0.5
SILENT_SECONDS = 2.0
"""After so long without an answer, which takes milliseconds, the log says so."""

LONGEST_ROUND_SECONDS = 3 * TIMEOUT_SECONDS
"""To connect, to be answered, to close. What takes longer waits for something that no time limit reaches: a name that
is looked up, bytes that come one by one.
"""

MOST_HANGING = 4
"""Threads that may wait for their round to end, each with a connection."""

ONE_TRY = {"max_retries": 0}
"""Of a connection: kombu would go on for seconds while newer rings wait, and for as long when the process stops."""

log = structlog.get_logger()


class Ringer:
    """One per process. `ring` returns at once and never raises.

    A thread of its own, the speaker, talks to the broker. Another one watches it and starts a new one when it hangs.
    """

    def __init__(self, settings: Settings) -> None:
        self._celery = create_celery(settings, main="ringer")
        self._lock = threading.Lock()
        self._wanted: dict[str, int] = {}  # rings by queue
        self._taken: dict[str, int] = {}  # those of the round that is under way
        self._has_wanted = threading.Event()
        self._is_stopping = threading.Event()
        self._round_began_at: float | None = None  # monotonic; None between rounds
        self._unanswered_since: float | None = None  # monotonic; began the first round of those that failed in a row
        self._is_in_trouble = False  # and the log says so
        self._refused: set[str] = set()  # queues that the broker does not let us ring
        self._slowest = ""  # the queue that was asked for when the broker fell silent
        self._hanging: list[threading.Thread] = []
        self._speaker = self._new_speaker()
        self._watcher = threading.Thread(target=self._watch, name="ringer-watch", daemon=True)

    def start(self) -> None:
        self._speaker.start()
        self._watcher.start()

    def stop(self) -> None:
        """Publish what is wanted still, if the broker answers, and end the threads."""
        self._is_stopping.set()
        self._has_wanted.set()
        self._speaker.join(timeout=2)
        self._watcher.join(timeout=2)
        metrics.RINGER_SILENT_SECONDS.set(0.0)

    def ring(self, queue: str, count: int = 1) -> None:
        """Say that `queue` may hold due work for `count` slots. Rings within some 20 ms become one publish."""
        with self._lock:
            if queue in self._wanted:
                metrics.RINGS.labels("coalesced").inc()
            self._want({queue: count})

    @property
    def silent_seconds(self) -> float:
        """How long the broker has not answered; 0.0 while nothing is asked of it."""
        since = self._unanswered_since
        return 0.0 if since is None else time.monotonic() - since

    def _want(self, rings: dict[str, int]) -> None:
        for queue, count in rings.items():
            self._wanted[queue] = min(MAX_DEPTH, max(count, self._wanted.get(queue, 0)))
        self._has_wanted.set()

    def _new_speaker(self) -> threading.Thread:
        return threading.Thread(target=self._speak, name="ringer", daemon=True)

    def _speak(self) -> None:
        line = _Line(self._celery)
        while not self._is_stopping.is_set() or self._wanted:
            is_rung = self._has_wanted.wait(LOOK_SECONDS)
            if not is_rung and not line.is_open and self._unanswered_since is None:
                continue  # nothing to say, and nothing to find out
            if not self._is_stopping.is_set():
                time.sleep(COALESCE_SECONDS)
            was_open = line.is_open
            if self._hold_round(line):
                continue
            if self._is_stopping.is_set() or self._speaker is not threading.current_thread():
                break
            if not was_open:  # else the broker may be there again already
                self._is_stopping.wait(PAUSE_AFTER_FAILURE_SECONDS)
        line.close()

    def _hold_round(self, line: "_Line") -> bool:
        """Tell the broker what is wanted, or look whether it is there. False when it did not answer."""
        me = threading.current_thread()
        with self._lock:
            self._taken, self._wanted = self._wanted, {}
            wanted = dict(self._taken)
            self._has_wanted.clear()
            self._round_began_at = time.monotonic()
            self._unanswered_since = self._unanswered_since or self._round_began_at
        queue = ""
        try:
            if not wanted:
                line.look()
            # the one that found no answer comes last, so that the others need not wait for it again
            for queue in sorted(wanted, key=lambda queue: queue == self._slowest):
                self._publish(line, queue, wanted[queue])
        except Exception as error:  # noqa: BLE001  # a thread's edge: whatever the broker's client raises
            line.drop()
            with self._lock:
                if self._speaker is not me:
                    return False
                self._round_began_at = None
                self._slowest = queue
                self._want(self._taken)
            metrics.RINGS.labels("failed").inc(len(wanted))
            self._note_trouble(type(error).__name__)
            return False
        with self._lock:
            if self._speaker is not me:  # somebody else was started, and rang
                line.drop()
                return False
            self._round_began_at = None
        self._note_answer()
        return True

    def _publish(self, line: "_Line", queue: str, count: int) -> None:
        """A queue that the broker refuses is let go: the others do not wait, and the sweep rings again."""
        try:
            depth = line.depth(queue)
            missing = min(count, MAX_DEPTH - depth) if depth else count
            line.publish(queue, missing)
        except line.refusals as error:
            line.forget_channel()
            metrics.RINGS.labels("failed").inc()
            if queue not in self._refused:
                self._refused.add(queue)
                log.warning("ring refused by the broker", queue=queue, error=type(error).__name__)
        else:
            self._refused.discard(queue)
            metrics.RINGS.labels("published" if missing > 0 else "skipped").inc(max(1, missing))
        with self._lock:
            if self._speaker is threading.current_thread():
                self._taken.pop(queue, None)

    def _watch(self) -> None:
        """The metric, and what a speaker that hangs cannot say or do itself."""
        while not self._is_stopping.wait(WATCH_SECONDS):
            silent = self.silent_seconds
            metrics.RINGER_SILENT_SECONDS.set(silent)
            if silent > SILENT_SECONDS:
                self._note_trouble("no answer")
            began_at = self._round_began_at
            if began_at is not None and time.monotonic() - began_at > LONGEST_ROUND_SECONDS:
                self._replace_speaker()

    def _replace_speaker(self) -> None:
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) == MOST_HANGING:
            return
        with self._lock:
            if self._round_began_at is None:
                return  # it came back just now
            self._hanging.append(self._speaker)
            self._speaker = self._new_speaker()
            self._round_began_at = None
            self._want(self._taken)
        log.warning("ringer hangs, another takes its place", hanging=len(self._hanging))
        self._speaker.start()

    def _note_trouble(self, reason: str) -> None:
        with self._lock:
            is_new, self._is_in_trouble = not self._is_in_trouble, True
        if is_new:
            log.warning("broker does not answer, rings are late", error=reason)

    def _note_answer(self) -> None:
        silent = self.silent_seconds
        with self._lock:
            self._unanswered_since = None
            was_in_trouble, self._is_in_trouble = self._is_in_trouble, False
        if was_in_trouble:
            log.info("broker answers again", silent_seconds=round(silent, 1))


class _Line:
    """A connection to the broker, made when it is needed."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._connection: Any = None  # kombu's; its methods carry no types

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """What is raised when the broker answers that it will not; the connection goes on."""
        return self._open().channel_errors  # type: ignore[no-any-return]

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = self._celery.connection_for_write(heartbeat=HEARTBEAT_SECONDS, transport_options=ONE_TRY)
        return self._connection

    def look(self) -> None:
        with contextlib.suppress(*self.refusals):  # an answer too
            self.depth(FAN_OUT_QUEUE)

    def depth(self, queue: str) -> int:
        """Rings waiting in the queue. Declares it where the broker does not know it: idempotent, as the workers do."""
        channel = self._open().default_channel
        return int(channel.queue_declare(queue=queue, durable=True, auto_delete=False).message_count)

    def publish(self, queue: str, count: int) -> None:
        try:
            for _ in range(count):
                self._celery.send_task(
                    DRAIN_TASK,
                    args=[queue],
                    queue=queue,
                    expiration=RING_EXPIRES_SECONDS,
                    ignore_result=True,
                    connection=self._open(),
                    retry=False,
                )
        except OperationalError as error:  # kombu's word for all that may go wrong
            if isinstance(error.__cause__, self.refusals):
                raise error.__cause__ from None
            raise

    def forget_channel(self) -> None:
        """RabbitMQ closes the channel on which it refuses something."""
        self._open().revive(None)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.release()
        self._connection = None

    def drop(self) -> None:
        """Without a word to the broker, which may not be there."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.collect()
        self._connection = None
