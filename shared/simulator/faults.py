"""What the simulator does wrong on purpose: a fate for each recipient, by magic word or by the provider's profile.

A profile's choices are made by hash of seed and recipient, so a run repeats. A recipient that met a fault draws
anew when it is tried again, except that the dead stay dead: who looks for them in a call asks more than once.
"""

import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from fnmatch import translate
from hashlib import blake2b
from struct import Struct
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from shared.errors import ConfigurationError
from shared.simulator.wire.manner import PROMPT, Ending, Manner, Opening


class Fate(StrEnum):
    """What becomes of one message to one recipient; also the word it is counted under."""

    ACCEPTED = "accepted"
    SLOW = "slow"  # accepted; the reply trickles
    DROPPED = "dropped"  # accepted; the stream or connection is reset before the reply
    SILENT = "silent"  # swallowed: neither accepted nor ever answered
    REFUSED_STREAM = "refused_stream"  # HTTP/2 says that the request was not acted on
    THROTTLED = "throttled"  # too many for this recipient; accepted later
    TRANSIENT = "transient"  # refused for now, accepted the next time
    OVER_LIMIT = "over_limit"  # the account sends faster than the profile's limit
    SERVER_ERROR = "server_error"
    DEAD_ADDRESS = "dead_address"
    INVALID_ADDRESS = "invalid_address"
    FOREIGN_ADDRESS = "foreign_address"  # belongs to another sender
    MAILBOX_FULL = "mailbox_full"
    REFUSED = "refused"  # content or sender not wanted
    OPTED_OUT = "opted_out"  # the recipient wants nothing more; some providers say so only in the receipt
    UNDELIVERED = "undelivered"  # accepted; the receipt says later that it did not arrive
    ACCOUNT_FAULT = "account_fault"


TAKEN = frozenset({Fate.ACCEPTED, Fate.SLOW, Fate.DROPPED, Fate.UNDELIVERED})
"""The fates of what goes on record."""


@dataclass(frozen=True, slots=True)
class MagicWord:
    """A word in a recipient's address that decides its fate, whatever the profile says.

    It stands at the start or after a separator, and no letter follows: `dead`, `dead-7`, `token_dead2`, not `deadline`.
    A word of digits stands at the end: `5550191` in +12025550191. So the addresses of real people and devices hardly
    ever hit one by chance.
    """

    word: str
    fate: Fate
    reply: str  # what the sender sees, for the table
    once: bool = False  # the next try is accepted


Rate = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, le=600_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultProfile:
    """How a provider misbehaves. Rates are shares of recipients from 0 to 1; together at most 1.

    `recipients` makes it the trouble of one account among several: give the accounts people whose addresses differ, as
    `*@acme.example` or `+1202*`. Whom the pattern does not match is served well, but for what is the whole server's:
    `opening`, limits, and SMTP's delay of every reply.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    recipients: str | None = None  # whom all this concerns, with * and ? for what may vary; None: everybody
    opening: Opening = Opening.PROMPT  # of the connections to the provider's own port; those that were open are cut
    latency_ms: Milliseconds = 0.0  # from the request's end to the reply
    jitter_ms: Milliseconds = 0.0  # up to so much more
    dead_rate: Rate = 0.0
    throttle_rate: Rate = 0.0
    server_error_rate: Rate = 0.0
    dropped_rate: Rate = 0.0
    silent_rate: Rate = 0.0
    slow_rate: Rate = 0.0
    transient_once_rate: Rate = 0.0  # of recipients not met before; drawn before the other rates
    dropped_as: Literal["reset", "cut", "garbage", "endless"] = "reset"  # what comes instead of a reply: see Ending
    silent_as: Literal["silence", "cut"] = "silence"
    slow_as: Literal["parts", "bytes"] = "parts"  # ten of them over slow_seconds, or a byte a second
    slow_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0  # how long a slow reply or a slow opening takes
    retry_after_seconds: Annotated[int, Field(ge=0)] | None = 1  # None: throttled without saying for how long
    receipt_delay_ms: Milliseconds = 0.0  # from acceptance to the first receipt
    receipt_copies: Annotated[int, Field(ge=0, le=100)] = 1  # how often each receipt is posted; 0: lost
    limit_messages: Annotated[int, Field(ge=1)] | None = None  # None: no limit
    limit_seconds: Annotated[float, Field(gt=0)] = 1.0  # the limit's period; a token bucket that starts full
    seed: int = 0

    def __post_init__(self) -> None:
        if sum(rate for _, rate in self.ladder()) > 1 + 1e-9:
            raise ValueError("the rates add up to more than 1")

    def ladder(self) -> tuple[tuple[Fate, float], ...]:
        return (
            (Fate.DEAD_ADDRESS, self.dead_rate),
            (Fate.THROTTLED, self.throttle_rate),
            (Fate.SERVER_ERROR, self.server_error_rate),
            (Fate.DROPPED, self.dropped_rate),
            (Fate.SILENT, self.silent_rate),
            (Fate.SLOW, self.slow_rate),
        )


P = TypeVar("P", bound=FaultProfile)
T = TypeVar("T")


class Port(Protocol):
    def open_as(self, opening: Opening, *, slow_seconds: float) -> None:
        """Meet connections like this from now on."""


class FaultPlan(Generic[P]):
    """One provider's magic words and its profile, which may change while it runs."""

    def __init__(self, name: str, profile: P, words: tuple[MagicWord, ...] = ()) -> None:
        """`name` is the word it has in `/faults`, counts and the record."""
        self.name = name
        self.words = words
        self._word_of = {word.word: word for word in words}
        self._pattern = _pattern_of(words)
        self._visits: dict[int, int] = {}  # recipient's hash -> faults it has met
        self._ports: list[Port] = []
        self.use(profile)

    @property
    def has_own_port(self) -> bool:
        return bool(self._ports)

    def govern(self, *ports: Port) -> None:
        """These are the provider's alone: they open connections as its profile has it, now and after every change."""
        self._ports += ports
        self._open_ports()

    def _open_ports(self) -> None:
        for port in self._ports:
            port.open_as(self.profile.opening, slow_seconds=self.profile.slow_seconds)

    def use(self, profile: P) -> None:
        """Start over with this profile: nobody has been met before."""
        self.profile = profile
        self._visits.clear()
        self._ladder = [(fate, rate) for fate, rate in profile.ladder() if rate]
        self._is_quiet = not self._ladder and not profile.transient_once_rate
        self._bucket = _Bucket(profile.limit_messages, profile.limit_seconds)
        self._concerned = None if profile.recipients is None else re.compile(translate(profile.recipients))
        self._manners = {fate: _manner_of(profile, fate) for fate in Fate}
        patient = replace(profile, latency_ms=0.0, jitter_ms=0.0)
        self._manners_to_others = {fate: _manner_of(patient, fate) for fate in Fate}
        self._open_ports()

    def fate_of(self, recipient: str, *, words_in: str | None = None) -> Fate:
        """Decide about one try. Counts it, so that `once` and a second draw work: ask once per try.

        `words_in` is the part of the address where magic words are looked for; None: all of it.
        """
        word = self.word_in(recipient if words_in is None else words_in)
        if word is not None:
            return self._once(recipient, word.fate) if word.once else word.fate
        return Fate.ACCEPTED if self._is_quiet or not self.concerns(recipient) else self._draw(recipient)

    def concerns(self, recipient: str) -> bool:
        return self._concerned is None or self._concerned.match(recipient) is not None

    def word_in(self, text: str) -> MagicWord | None:
        found = self._pattern.search(text) if self._pattern else None
        return None if found is None else self._word_of[found[1] or found[2]]

    def is_over_limit(self) -> bool:
        """Use one message of the limit; True when none is left."""
        return not self._bucket.take()

    def manner_of(self, recipient: str, fate: Fate) -> Manner:
        if not self.concerns(recipient):
            return self._manners_to_others[fate]
        manner = self._manners[fate]
        if not self.profile.jitter_ms:
            return manner
        jitter = _chances(self.profile.seed, recipient, 0)[2] * self.profile.jitter_ms / 1000
        return replace(manner, delay_seconds=manner.delay_seconds + jitter)

    def pick(self, recipient: str, options: Sequence[T]) -> T:
        """One of the options, always the same for a recipient."""
        return options[int(_chances(self.profile.seed, recipient, 0)[2] * len(options))]

    def _once(self, recipient: str, fate: Fate) -> Fate:
        if self._visits.get(hash(recipient)):
            return Fate.ACCEPTED
        self._visits[hash(recipient)] = 1
        return fate

    def _draw(self, recipient: str) -> Fate:
        visit = self._visits.get(hash(recipient), 0)
        first, second, _ = _chances(self.profile.seed, recipient, visit)
        is_turned_away = visit == 0 and first < self.profile.transient_once_rate
        fate = Fate.TRANSIENT if is_turned_away else self._rung(second)
        if fate not in {Fate.ACCEPTED, Fate.DEAD_ADDRESS}:
            self._visits[hash(recipient)] = visit + 1
        return fate

    def _rung(self, chance: float) -> Fate:
        for fate, rate in self._ladder:
            chance -= rate
            if chance < 0:
                return fate
        return Fate.ACCEPTED


class Faults:
    """The plans of all providers, as the HTTP API and tests set them."""

    def __init__(self, plans: Iterable[FaultPlan[Any]]) -> None:
        self.plans = {plan.name: plan for plan in plans}

    def set(self, name: str, **wishes: Any) -> None:
        """Give a provider a fresh profile with these fields; the others have their defaults."""
        self.replace({name: wishes})

    def replace(self, wishes: Any) -> None:
        """Give each named provider a fresh profile; all or, with a ConfigurationError, none.

        `wishes` may come from anywhere; it should map names to the fields that depart from the defaults.
        """
        if not isinstance(wishes, Mapping) or not all(isinstance(wish, Mapping) for wish in wishes.values()):
            raise ConfigurationError('Faults map providers to profiles, as {"fcm": {"latency_ms": 200}}.')
        profiles = {name: self._profile(name, wish) for name, wish in wishes.items()}
        for name, profile in profiles.items():
            self.plans[name].use(profile)

    def departures(self) -> dict[str, dict[str, Any]]:
        """What of each provider's profile is not as it is by itself; a password is not told."""
        return {name: departures for name, plan in self.plans.items() if (departures := _departures_of(plan.profile))}

    def describe(self) -> dict[str, dict[str, Any]]:
        return {
            name: {field.name: getattr(plan.profile, field.name) for field in fields(plan.profile)}
            for name, plan in self.plans.items()
        }

    def _profile(self, name: str, wish: Mapping[str, Any]) -> FaultProfile:
        if name not in self.plans:
            raise ConfigurationError(f"No provider {name!r} is simulated; there are {', '.join(self.plans)}.")
        try:
            profile: FaultProfile = TypeAdapter(type(self.plans[name].profile)).validate_python(wish)
        except ValidationError as error:
            raise ConfigurationError(f"Wrong profile for {name}: {_complaint(error, self.plans[name])}") from error
        if profile.opening is not Opening.PROMPT and not self.plans[name].has_own_port:
            raise ConfigurationError(
                f"{name} shares its port with others, so its opening cannot be changed; --{name}-port gives it its own."
            )
        return profile


def _complaint(error: ValidationError, plan: FaultPlan[Any]) -> str:
    """What is wrong, and after a field that does not exist those that do."""
    found = error.errors()
    unknown = [str(fault["loc"][-1]) for fault in found if fault["type"] == "unexpected_keyword_argument"]
    said = [
        f"{_place(fault['loc'])}{fault['msg']}" for fault in found if fault["type"] != "unexpected_keyword_argument"
    ]
    if unknown:
        fields_there = ", ".join(field.name for field in fields(plan.profile))
        said.append(f"there is no {', '.join(unknown)}; there are {fields_there}")
    return "; ".join(said)


def _departures_of(profile: FaultProfile) -> dict[str, Any]:
    values = {field.name: getattr(profile, field.name) for field in fields(profile)}
    defaults = {field.name: field.default for field in fields(profile)}
    return {name: "set" if name == "password" else value for name, value in values.items() if value != defaults[name]}


def retry_after(profile: FaultProfile) -> tuple[tuple[bytes, bytes], ...]:
    """The Retry-After header of an HTTP reply, if the profile has one."""
    seconds = profile.retry_after_seconds
    return () if seconds is None else ((b"retry-after", b"%d" % seconds),)


class _Bucket:
    """A token bucket that starts full; without a limit it never runs dry."""

    def __init__(self, messages: int | None, seconds: float) -> None:
        self._capacity = math.inf if messages is None else float(messages)
        self._per_second = self._capacity / seconds
        self._left = self._capacity
        self._looked_at = time.monotonic()

    def take(self) -> bool:
        if self._capacity is math.inf:
            return True
        now = time.monotonic()
        self._left = min(self._capacity, self._left + (now - self._looked_at) * self._per_second)
        self._looked_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _pattern_of(words: tuple[MagicWord, ...]) -> re.Pattern[str] | None:
    if not words:
        return None
    texts = [re.escape(word.word) for word in words if not word.word.isdecimal()]
    numbers = [word.word for word in words if word.word.isdecimal()]
    return re.compile(rf"(?<![^\W_])({'|'.join(texts) or '(?!)'})(?![^\W\d_])|({'|'.join(numbers) or '(?!)'})$")


def _manner_of(profile: FaultProfile, fate: Fate) -> Manner:
    endings = {
        Fate.DROPPED: Ending(profile.dropped_as),
        Fate.SILENT: Ending(profile.silent_as),
        Fate.REFUSED_STREAM: Ending.REFUSAL,
    }
    trickle = profile.slow_seconds if fate is Fate.SLOW else 0.0
    drips = trickle > 0 and profile.slow_as == "bytes"
    manner = Manner(profile.latency_ms / 1000, endings.get(fate, Ending.ANSWER), trickle, drips)
    return PROMPT if manner == PROMPT else manner


_THREE_NUMBERS = Struct("<3Q")


def _chances(seed: int, recipient: str, visit: int) -> tuple[float, float, float]:
    """Three independent numbers from 0 to 1 that depend on nothing else."""
    digest = blake2b(f"{seed}:{visit}:{recipient}".encode("utf-8", "surrogatepass"), digest_size=24).digest()
    first, second, third = _THREE_NUMBERS.unpack(digest)
    return first / 2**64, second / 2**64, third / 2**64


def _place(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(str(part) for part in location)}: " if location else ""
