"""The phone numbers that decide their own fate, the same for all SMS providers: they end in 555 0190 to 555 0199.

North America keeps 555-0100 to 555-0199 for fiction in every area code, so no real phone has one of them.
"""

from collections.abc import Mapping

from shared.simulator.faults import Fate, MagicWord

_FATES: Mapping[str, Fate] = {
    "5550190": Fate.DEAD_ADDRESS,
    "5550191": Fate.REFUSED,
    "5550192": Fate.THROTTLED,
    "5550193": Fate.SLOW,
    "5550194": Fate.DROPPED,
    "5550195": Fate.TRANSIENT,
    "5550196": Fate.OPTED_OUT,
    "5550197": Fate.UNDELIVERED,
    "5550198": Fate.ACCOUNT_FAULT,
    "5550199": Fate.SERVER_ERROR,
}
"""By a number's last seven digits."""

_ONCE = frozenset({Fate.THROTTLED, Fate.TRANSIENT})

_EVERYWHERE: Mapping[Fate, str] = {
    Fate.SLOW: "accepted; the reply trickles in over slow_seconds",
    Fate.DROPPED: "accepted; the stream is reset before the reply",
    Fate.UNDELIVERED: "accepted; the receipt says that it did not arrive",
}


def magic_numbers(replies: Mapping[Fate, str]) -> tuple[MagicWord, ...]:
    """The table with a provider's own replies for the fates of `_FATES`; those without one do not exist there."""
    told = {**_EVERYWHERE, **replies}
    return tuple(
        MagicWord(ending, fate, told[fate], once=fate in _ONCE) for ending, fate in _FATES.items() if fate in told
    )
