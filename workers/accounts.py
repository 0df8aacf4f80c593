"""Provider accounts in this process: an adapter each, how fast it may go, and whether it is held back."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.db.queries.claim import LoadedProvider
from shared.db.queries.providers import credentials_context
from shared.db.secrets import SecretBox
from shared.domain.outcome import AccountFault, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.providers.contract import Account, Adapter
from workers.breaker import Breaker
from workers.rate import Rate
from workers.window import Window

PERIOD_SECONDS = 1.0
"""How long answers are counted before the limit is changed by them."""

REFUSALS_THAT_HOLD = 5
"""Throttled answers in a row, none accepted between, after which the account waits as long as the provider said.

A single 503 among thousands of acceptances delays its own recipient; a quota that is used up delays everybody.
"""

LONGEST_REST_SECONDS = 3_600.0
"""How long an account waits at most, whatever the provider says: then it is asked again."""


@dataclass(slots=True)
class Pace:
    """Recipients in flight that a provider kind takes, judged once per period by the share of answers that were
    throttled or never came: above a twentieth it shrinks by that share, by half at most, else it grows by a twentieth
    of the most.

    So a provider that is overwhelmed gets half at once, and one that turns single recipients away is not brought to
    a standstill.
    """

    window: Window
    kind: str
    most: int
    limit: int = 0
    answers: int = 0  # in this period
    refusals: int = 0  # of them: throttled, or no answer
    period_ends_at: float = field(default_factory=lambda: time.monotonic() + PERIOD_SECONDS)

    def __post_init__(self) -> None:
        self.limit = self.most
        self.window.set_limit(self.kind, self.limit)

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
        self.window.set_limit(self.kind, self.limit)
        self.answers = self.refusals = 0
        self.period_ends_at = now + PERIOD_SECONDS


@dataclass(slots=True)
class OpenAccount:
    """One configured provider as this process uses it."""

    provider: LoadedProvider
    adapter: Adapter
    pace: Pace
    rate: Rate | None = None  # None: not limited
    held_until: float = 0.0  # monotonic: throttled as a whole, or at fault
    is_faulty: bool = False
    fault_reason: str = ""  # what it answered last, if that was a fault; is_faulty alone may be another process's word
    refusals: int = 0  # of the provider as a whole, since it last accepted anything
    breaker: Breaker = field(default_factory=Breaker)

    def note_acceptance(self) -> None:
        self.breaker.note_acceptance()
        self.is_faulty = False
        self.fault_reason = ""
        self.refusals = 0

    def observe(self, outcome: Outcome, fault_retry_seconds: float, *, attempt: int = 1) -> Outcome:
        """Learn from an outcome that was not an acceptance; what it is worth, seen with those before it."""
        if isinstance(outcome, DeadAddress | Refused) and outcome.is_suspicious:
            outcome = self.breaker.judge(outcome, attempt=attempt)
        match outcome:
            case Retry(scope="provider"):
                self.pace.note(answers=0, refusals=1)
                self.refusals += 1
                if self.refusals >= REFUSALS_THAT_HOLD:
                    rest_seconds = min(outcome.after_seconds or 0.0, LONGEST_REST_SECONDS)
                    self.held_until = max(self.held_until, time.monotonic() + rest_seconds)
            case Unknown():
                self.pace.note(answers=0, refusals=1)
            case AccountFault():
                self.is_faulty = True
                self.fault_reason = outcome.reason
                self.held_until = time.monotonic() + fault_retry_seconds
        return outcome

    @property
    def held_seconds(self) -> float:
        """Seconds until it may be used again; 0: now."""
        return max(0.0, self.held_until - time.monotonic())


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
        self._retired: list[Adapter] = []  # of older versions; requests may still be in flight there
        self._paces: dict[str, Pace] = {}  # key: kind

    def get(self, provider: LoadedProvider) -> OpenAccount:
        """Raises ConfigurationError when the credentials cannot be decrypted."""
        opened = self._open.get(provider.seq)
        if opened is None or _identity(opened.provider) != _identity(provider):
            if opened is not None:
                self._retired.append(opened.adapter)
            opened = self._open_account(provider)
            self._open[provider.seq] = opened
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
        pace = self._paces.get(provider.kind)
        if pace is None:
            pace = self._paces[provider.kind] = Pace(self._window, provider.kind, adapter.in_flight_limit)
        return OpenAccount(provider, adapter, pace, self._make_rate(provider), is_faulty=provider.has_fault)

    async def close_retired(self) -> None:
        """Close what no batch uses any more; call when nothing is in flight."""
        while self._retired:
            await self._retired.pop().aclose()

    async def aclose(self) -> None:
        self._retired += [opened.adapter for opened in self._open.values()]
        self._open.clear()
        await self.close_retired()


def _identity(provider: LoadedProvider) -> tuple[int, bool]:
    """What an adapter was made from; another one needs another adapter."""
    return provider.version, provider.is_live
