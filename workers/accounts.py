"""Provider accounts in this process: an adapter each, how fast it may go, and whether it rests.

Nothing here is shared between accounts, those of one kind included: what one of them meets slows no other.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from shared import metrics
from shared.db.queries.claim import LoadedProvider
from shared.db.queries.providers import credentials_context
from shared.db.secrets import SecretBox
from shared.domain.outcome import AccountFault, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.domain.queues import DeliveryQueue
from shared.domain.status import Lane
from shared.providers.contract import Account, Adapter
from workers.breaker import Breaker
from workers.rate import Rate
from workers.retry_budget import RetryBudget
from workers.window import Share, Window

PERIOD_SECONDS: Final = 1.0
"""How long answers are counted before the limit is changed by them."""

FAILURES_THAT_REST: Final = 5
"""Answers in a row that were throttled, or calls that nobody answered, none accepted between, after which the account
rests and is then probed by one recipient at a time.

A single 503 among thousands of acceptances delays its own recipient; a quota that is used up, or a server that is down,
delays everybody.
"""

PATIENCE_WITH_NO_TIME: Final = 10
"""So many times more of them it takes where the provider says to come back at once."""

LONGEST_REST_SECONDS: Final = 15.0
"""Between two probes of a provider that does not say when to come back: 1, 2, 4 ... seconds up to this."""

LONGEST_WISH_SECONDS: Final = 3_600.0
"""How long an account waits at most, whatever the provider says: then it is asked again."""

VOUCHED_SECONDS: Final = 60.0
"""So long after an acceptance, bad addresses are taken for the addresses' fault, not the account's."""

IDLE_SECONDS: Final = 600.0
"""An account that no batch used for so long is closed: tenants are many, connections few."""

log = structlog.get_logger()


@dataclass(slots=True)
class Pace:
    """Recipients in flight that an account takes, judged once per period by the share of answers that were throttled
    or never came: above a twentieth it shrinks by that share, by half at most, else it grows by a twentieth of the
    most.

    So a provider that is overwhelmed gets half at once, and one that turns single recipients away is not brought to
    a standstill.
    """

    share: Share
    most: int
    limit: int = 0
    answers: int = 0  # in this period
    refusals: int = 0  # of them: throttled, or no answer
    period_ends_at: float = field(default_factory=lambda: time.monotonic() + PERIOD_SECONDS)

    def __post_init__(self) -> None:
        self.limit = self.most
        self.share.set_limit(self.limit)

    def note(self, *, answers: int, refusals: int) -> None:
        """Count what came back; at the end of a period, judge it."""
        self.answers += answers
        self.refusals += refusals
        now = time.monotonic()
        if now < self.period_ends_at:
            return
        if self.refusals * 20 > self.answers:
            share = min(0.5, self.refusals / max(1, self.answers))  # answers may come later than their refusals
            self.limit = max(1, int(self.limit * (1.0 - share)))
        else:
            self.limit = min(self.most, self.limit + max(1, self.most // 20))
        self.share.set_limit(self.limit)
        self.answers = self.refusals = 0
        self.period_ends_at = now + PERIOD_SECONDS


@dataclass(frozen=True, slots=True)
class Doubt:
    """Addresses of one message look foreign to the account, which has proved itself with no other of late."""

    until: float  # monotonic: then one recipient finds out
    reason: str


@dataclass(slots=True, eq=False)
class OpenAccount:
    """One configured provider as this process uses it."""

    provider: LoadedProvider
    adapter: Adapter
    pace: Pace
    rate: Rate | None = None  # None: not limited
    breaker: Breaker = field(default_factory=Breaker)
    retries: RetryBudget = field(default_factory=RetryBudget)
    # at rest
    rests_until: float = 0.0  # monotonic
    is_told_to_rest: bool = False  # for so long: the provider itself named the time
    rest_reason: str = ""  # why it rests or is probed; "": it does not, as far as this process knows
    failures: int = 0  # of the provider as a whole, since it last accepted anything
    last_failure: Outcome | None = None
    failed_probes: int = 0  # in a row: what the next rest grows by
    is_probed: bool = False  # one recipient at a time, until something is accepted
    is_faulty: bool = False  # it refuses the account itself; may be another process's word
    doubts: dict[int, Doubt] = field(default_factory=dict)  # key: run
    accepted_at: float = float("-inf")  # monotonic
    # in use
    users: int = 0  # batches that are being sent
    used_at: float = field(default_factory=time.monotonic)
    is_retired: bool = False
    is_being_probed: bool = False  # a batch is at it
    suspects: asyncio.Lock = field(default_factory=asyncio.Lock)  # whoever may kill the process is in flight alone

    def fault_reason(self, run: int) -> str:
        """What it answered last, if that was a fault of the account, or of account and run together; "": it was none.

        That it is at fault may also be another process's word alone.
        """
        if self.is_faulty:
            return self.rest_reason
        return self.doubts[run].reason if run in self.doubts else ""

    def begin_call(self) -> None:
        """What fails from now on is another failure, though it may be told by the same outcome."""
        self.last_failure = None

    def note_acceptance(self, run: int) -> None:
        self.breaker.note_acceptance()
        self.accepted_at = time.monotonic()
        self.pace.share.note_answer()
        self.failures = self.failed_probes = 0
        if self.doubts:
            self.doubts.pop(run, None)
        if self.is_probed or self.is_faulty:
            self._recover()

    def observe(self, outcome: Outcome, fault_retry_seconds: float, *, run: int, attempt: int = 1) -> Outcome:
        """Learn from an outcome that was not an acceptance; what it is worth, seen with those before it."""
        if isinstance(outcome, DeadAddress | Refused) and outcome.is_suspicious:
            vouched = time.monotonic() - self.accepted_at < VOUCHED_SECONDS
            outcome = self.breaker.judge(outcome, attempt=attempt, is_vouched_for=vouched)
            if isinstance(outcome, AccountFault):
                self._doubt(run, outcome.reason, fault_retry_seconds)
                return outcome
        match outcome:
            case Retry(scope="provider"):
                self._note_failure(outcome, outcome.after_seconds)
            case Unknown():
                self._note_failure(outcome, None)
            case AccountFault():
                self._rest(outcome.reason, fault_retry_seconds, is_faulty=True)
            case _:
                self.pace.share.note_answer()
        return outcome

    def rest_seconds(self, run: int) -> float:
        """Seconds until this run may be sent through it; 0: now."""
        doubt = self.doubts.get(run)
        until = self.rests_until if doubt is None else max(self.rests_until, doubt.until)
        return max(0.0, until - time.monotonic())

    def must_probe(self, run: int) -> bool:
        """Whether one recipient has to find out first that it works, for everybody or for this run."""
        return self.is_probed or self.is_faulty or run in self.doubts

    @contextmanager
    def probing(self, run: int) -> Iterator[bool]:
        """Whether the caller is the one to probe; of a doubted run every batch may, as it speaks for that run alone."""
        if not (self.is_probed or self.is_faulty):
            yield run in self.doubts
        elif self.is_being_probed:
            yield False
        else:
            self.is_being_probed = True
            try:
                yield True
            finally:
                self.is_being_probed = False

    @property
    def is_to_be_probed(self) -> bool:
        """Whether its rest is over and one recipient should find out."""
        return self.is_probed and not self.is_being_probed and self.rests_until <= time.monotonic()

    def is_open_for(self, lane: Lane, unmarked: int) -> bool:
        """Whether more batches of it are worth claiming, with so many recipients claimed and not yet marked."""
        if self.is_faulty:  # its batches are claimed all the same, so that each is told why it waits
            return True
        if self.is_probed or self.rests_until > time.monotonic():  # the latter: its provider named a time
            return False
        share = self.pace.share
        most = 1 if not share.is_answering and share.room(lane) <= 0 else share.most(lane)
        return unmarked < (min(most, self.rate.most) if self.rate else most)

    def _note_failure(self, outcome: Retry | Unknown, after_seconds: float | None) -> None:
        """Recipients of one call have one outcome: the account failed once, however many they are."""
        self.pace.note(answers=0, refusals=1)
        if outcome is not self.last_failure:
            self.last_failure = outcome
            self.failures += 1
        # told to come back at once, it does, unless that goes on and on
        most = FAILURES_THAT_REST if after_seconds != 0.0 else PATIENCE_WITH_NO_TIME * FAILURES_THAT_REST
        if self.failures >= most or self.is_probed:
            self._rest(outcome.reason, min(after_seconds or 0.0, LONGEST_WISH_SECONDS), is_faulty=False)

    def _rest(self, reason: str, seconds: float, *, is_faulty: bool) -> None:
        """One rest for all that fail while it lasts: they were under way when it began."""
        now = time.monotonic()
        is_told = seconds > 0.0 and not is_faulty
        if now >= self.rests_until:
            if not self.is_probed:
                log.warning("account rests", reason=reason, **self._names())
                metrics.ACCOUNTS_AT_REST.labels(self.provider.kind).inc()
            if not is_faulty:
                seconds = max(seconds, min(2.0**self.failed_probes, LONGEST_REST_SECONDS))
                self.failed_probes = min(self.failed_probes + 1, 10)
            self.is_told_to_rest = is_told
        self.is_told_to_rest = self.is_told_to_rest or is_told
        self.rests_until = max(self.rests_until, now + seconds)
        self.rest_reason = reason
        self.is_faulty = self.is_faulty or is_faulty
        self.is_probed = True

    def _recover(self) -> None:
        """Something was accepted: there is no more to find out, but a time that the provider named still counts."""
        if self.is_probed:
            log.info("account recovered", **self._names())
            metrics.ACCOUNTS_AT_REST.labels(self.provider.kind).dec()
        self.is_faulty = self.is_probed = False
        self.rest_reason = ""
        if not self.is_told_to_rest:
            self.rests_until = 0.0

    def _doubt(self, run: int, reason: str, seconds: float) -> None:
        """The others of this message wait. Other messages go on, and may prove the account right."""
        now = time.monotonic()
        self.doubts = {other: doubt for other, doubt in self.doubts.items() if doubt.until > now - seconds}
        self.doubts[run] = Doubt(now + seconds, reason)

    def _names(self) -> dict[str, object]:
        return {"kind": self.provider.kind, "provider_id": self.provider.id, "provider_seq": self.provider.seq}


class Accounts:
    """Adapters of this process, one per provider row; a new version of the row gets a new one."""

    def __init__(
        self,
        secret_box: SecretBox,
        window: Window,
        make: Callable[[str, Account, bool], Adapter],
        make_rate: Callable[[LoadedProvider], Rate | None],
    ) -> None:
        self._secret_box = secret_box
        self._window = window
        self._make = make
        self._make_rate = make_rate
        self._open: dict[int, OpenAccount] = {}  # key: provider_seq
        self._retired: set[OpenAccount] = set()  # of older versions, with requests still in flight
        self._closing: set[asyncio.Task[None]] = set()
        self._limits: dict[str, int] = {}  # recipients in flight at one account, as adapters asked last; key: kind

    @contextmanager
    def use(self, provider: LoadedProvider) -> Iterator[OpenAccount]:
        """Raises ConfigurationError when the credentials cannot be decrypted."""
        account = self._get(provider)
        account.users += 1
        try:
            yield account
        finally:
            account.users -= 1
            account.used_at = time.monotonic()
            if account.is_retired and not account.users:
                self._close(account)

    def limit_of(self, kind: str) -> int | None:
        """Recipients that one account of the kind takes at a time; None: none was opened yet."""
        return self._limits.get(kind)

    def closed_for(self, queue: DeliveryQueue, unmarked: Mapping[int, int]) -> list[int]:
        """provider_seqs of which no more batches of the queue are worth claiming now; `unmarked`: recipients that are
        claimed and not yet marked, by provider_seq.
        """
        return [
            seq
            for seq, account in self._open.items()
            if account.provider.kind == queue.kind and not account.is_open_for(queue.lane, unmarked.get(seq, 0))
        ]

    def is_busy(self, provider_seq: int) -> bool:
        """Whether it takes what it is given, and has been given all that it takes here."""
        account = self._open.get(provider_seq)
        return account is not None and not account.is_probed and account.pace.share.is_answering

    def to_probe(self, queue: DeliveryQueue) -> list[LoadedProvider]:
        """Those of which one batch should be claimed, to find out whether the account works again."""
        return [
            account.provider
            for account in self._open.values()
            if account.provider.kind == queue.kind and not account.is_faulty and account.is_to_be_probed
        ]

    def at_rest(self) -> list[LoadedProvider]:
        """Those of which nothing is claimed but for probes, so that no batch tells that they were changed."""
        now = time.monotonic()
        return [one.provider for one in self._open.values() if one.is_probed or one.rests_until > now]

    def drop(self, provider_seq: int) -> None:
        """Forget what was learnt of an account that was changed, disabled or deleted."""
        account = self._open.pop(provider_seq, None)
        if account is not None:
            self._retire(account)

    def close_idle(self) -> None:
        """Close what no batch has used for a while."""
        now = time.monotonic()
        for seq, account in list(self._open.items()):
            if not account.users and now - account.used_at > IDLE_SECONDS:
                self.drop(seq)

    async def aclose(self) -> None:
        for account in self._open.values():
            self._close(account)
        self._open.clear()
        for account in self._retired:
            self._close(account)
        await asyncio.gather(*self._closing)

    def _get(self, provider: LoadedProvider) -> OpenAccount:
        opened = self._open.get(provider.seq)
        if opened is None or _identity(opened.provider) != _identity(provider):
            account = self._open_account(provider)
            if opened is not None:
                self._retire(opened)
            opened = self._open[provider.seq] = account
        return opened

    def _open_account(self, provider: LoadedProvider) -> OpenAccount:
        context = credentials_context(provider.project_seq, provider.id)
        account = Account(
            provider_seq=provider.seq,
            version=provider.version,
            credentials=json.loads(self._secret_box.decrypt(provider.credentials_encrypted, context=context)),
            options=provider.options,
        )
        adapter = self._make(provider.kind, account, provider.is_live)
        self._limits[provider.kind] = adapter.in_flight_limit
        pace = Pace(self._window.share_of(provider.seq, provider.project_seq), adapter.in_flight_limit)
        return OpenAccount(provider, adapter, pace, self._make_rate(provider), is_faulty=provider.has_fault)

    def _retire(self, account: OpenAccount) -> None:
        account.is_retired = True
        if account.users:
            self._retired.add(account)
        else:
            self._close(account)

    def _close(self, account: OpenAccount) -> None:
        self._retired.discard(account)
        if account.is_probed:
            metrics.ACCOUNTS_AT_REST.labels(account.provider.kind).dec()
        if account.provider.seq not in self._open:
            self._window.forget(account.provider.seq)
        task = asyncio.create_task(account.adapter.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _identity(provider: LoadedProvider) -> tuple[int, bool]:
    """What an adapter was made from; another one needs another adapter."""
    return provider.version, provider.is_live
