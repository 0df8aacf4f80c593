"""Public ids (text, Appwrite's style), run numbers and the words for internal keys."""

import re
import secrets
import time
from typing import NewType

ProjectSeq = NewType("ProjectSeq", int)
"""Internal key of a project; every other key starts with it."""

TargetSeq = NewType("TargetSeq", int)
"""Internal key of a target; the key under which a recipient is deduplicated."""

Run = NewType("Run", int)
"""One sending of one message: drawn when it becomes `processing`; the key of its ledger."""

UNIQUE = "unique()"
"""What a client sends as id to have one made."""

PUBLIC_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}")

RUN_RANDOM_BITS = 20


def new_public_id() -> str:
    """20 lowercase hex characters: 13 of time in microseconds, 7 random; sorts by creation."""
    return f"{time.time_ns() // 1000:013x}{secrets.token_hex(4)[:7]}"


def run_floor(epoch_milliseconds: int) -> int:
    """The smallest run of that millisecond: bounds of ledger partitions are made of it.

    A run holds the time in its high bits (44 bits of milliseconds reach past the year 2500) and 20 random
    bits below, so `deliveries` can be partitioned by age without a date column. SQL draws it with the same
    arithmetic: see shared/db/queries/accept.py.
    """
    return epoch_milliseconds << RUN_RANDOM_BITS
