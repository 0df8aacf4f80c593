"""What an SMTP server's replies mean, by the phase they come in: one table."""

import re
from collections.abc import Set as AbstractSet
from enum import Enum, StrEnum, auto
from functools import lru_cache
from typing import Final, NamedTuple

from shared.domain.outcome import AccountFault, DeadAddress, Refused, Retry


class Phase(StrEnum):
    """Which command a reply answers; the value is how reasons name it."""

    BANNER = "connecting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    DOT = "the end of the mail"  # from here on silence means: perhaps accepted
    RSET = "RSET"


OPENING: Final = frozenset({Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH})
TRANSACTION: Final = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT, Phase.RSET})
ADDRESSED: Final = frozenset({Phase.RCPT, Phase.DATA, Phase.DOT})
ANY: Final = OPENING | TRANSACTION


class Meaning(Enum):
    TRY_LATER = auto()  # this recipient, by our backoff
    SLOW_DOWN = auto()  # the whole provider
    LEAVE = auto()  # try later, on another connection: this one is of no more use
    REFUSED = auto()
    DEAD_ADDRESS = auto()
    ACCOUNT_FAULT = auto()


class Rule(NamedTuple):
    phases: AbstractSet[Phase]
    codes: str  # regular expression for the three digits
    enhanced: str  # regular expression for the enhanced code (RFC 3463); "" matches also where there is none
    meaning: Meaning


# RFC 5321 §4.2, RFC 3463, RFC 4954 §6; the first that matches counts. Enhanced codes come before basic ones, as they
# say more. A bare 550 at RCPT may be a policy as well as an unknown user, so it does not suppress the address.
RULES: Final = (
    Rule(ANY, r"421", r"", Meaning.LEAVE),  # "Service not available, closing transmission channel"
    Rule(ANY, r"53[0458]", r"", Meaning.ACCOUNT_FAULT),  # login required, too weak, invalid, only over TLS
    Rule(ANY, r"454", r"", Meaning.SLOW_DOWN),  # of AUTH: temporary; SES: "Maximum sending rate exceeded"
    Rule(OPENING, r"4..", r"", Meaning.SLOW_DOWN),
    Rule(OPENING, r"5..", r"", Meaning.ACCOUNT_FAULT),  # 554 for a banner: "No SMTP service here"
    Rule(TRANSACTION, r"50[0234]", r"", Meaning.LEAVE),  # bad sequence, not implemented: we lost each other
    Rule(ADDRESSED, r"5..", r"5\.1\.[1236]|5\.2\.1", Meaning.DEAD_ADDRESS),  # no such user or domain, moved, disabled
    Rule(ADDRESSED, r"5..", r"5\.", Meaning.REFUSED),  # 5.7.1 policy, 5.7.26 SPF and DKIM, 5.2.2 full, 5.3.4 too big
    Rule({Phase.RCPT}, r"55[13]", r"", Meaning.DEAD_ADDRESS),  # "User not local", "Mailbox name not allowed"
    Rule({Phase.RCPT, Phase.DOT}, r"4..", r"", Meaning.TRY_LATER),  # greylisted, busy, full: this recipient only
    Rule({Phase.MAIL, Phase.DATA}, r"4..", r"", Meaning.SLOW_DOWN),  # "Requested action aborted: error in processing"
    Rule({Phase.MAIL}, r"552", r"", Meaning.REFUSED),  # beyond the server's SIZE
    Rule({Phase.MAIL}, r"5..", r"5\.3\.4", Meaning.REFUSED),  # the same: "message too big for system"
    Rule({Phase.MAIL}, r"5..", r"", Meaning.ACCOUNT_FAULT),  # the sender is refused
    Rule(ADDRESSED, r"5..", r"", Meaning.REFUSED),
    Rule(ANY, r"...", r"", Meaning.LEAVE),  # 1xx and 3xx where none belongs
)

ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")


class Reply(NamedTuple):
    code: int
    text: str  # of one line, after the code

    @classmethod
    def read(cls, line: bytes) -> "Reply":
        return cls(int(line[:3]), line[4:].decode("utf-8", "replace").strip())

    @property
    def enhanced(self) -> str:
        match = ENHANCED.match(self.text)
        return match[0] if match else ""


Verdict = Retry | Refused | DeadAddress | AccountFault


def judge(phase: Phase, reply: Reply) -> tuple[Verdict, bool]:
    """What a reply other than the wished-for one means, and whether the connection is still of use."""
    meaning = _meaning(phase, reply.code, reply.enhanced)
    # of a login only the codes are told: servers repeat the user name in their text
    words = reply.enhanced if phase is Phase.AUTH else reply.text[:300]
    reason = f"the server answered {reply.code} {words} to {phase}".replace("  ", " ")
    verdicts: dict[Meaning, Verdict] = {
        Meaning.TRY_LATER: Retry(reason),
        Meaning.SLOW_DOWN: Retry(reason, scope="provider"),
        Meaning.LEAVE: Retry(reason),
        Meaning.REFUSED: Refused(reason),
        Meaning.DEAD_ADDRESS: DeadAddress(reason),
        Meaning.ACCOUNT_FAULT: AccountFault(reason),
    }
    return verdicts[meaning], meaning is not Meaning.LEAVE


@lru_cache(maxsize=256)
def _meaning(phase: Phase, code: int, enhanced: str) -> Meaning:
    return next(
        rule.meaning
        for rule in RULES
        if phase in rule.phases and re.fullmatch(rule.codes, str(code)) and re.match(rule.enhanced, enhanced)
    )
