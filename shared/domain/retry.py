"""When to try again: pure functions of what happened, how often, and chance."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    quick_retries: int  # tries after which the step starts to grow
    base_seconds: float  # first step
    cap_seconds: float  # longest step
    max_resends: int  # times a recipient with an unknown outcome is sent again
    account_fault_patience_seconds: float  # how long recipients wait for mended credentials
    account_fault_retry_seconds: float  # how often a faulty account is tried meanwhile, by one recipient


def retry_delay_seconds(policy: RetryPolicy, *, attempt: int, after_seconds: float | None, chance: float) -> float:
    """Seconds until the next try, after try number `attempt` (from 1) failed.

    Full jitter between 0 and the step; a provider that named a delay gets at least that, and a jitter that cannot
    fall to zero (aws-sdk-net #4341: full jitter burnt all tries inside one quota minute). `chance`: 0 to 1.
    """
    doublings = max(0, attempt - policy.quick_retries)
    step = min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(doublings, 32))
    if after_seconds is None:
        return step * chance
    return max(after_seconds, step / 2 + step / 2 * chance)


SHORTEST_DUE_STEP_SECONDS = 0.5


def due_step_seconds(delay_seconds: float) -> float:
    """Steps of time that moments so far ahead are rounded up to, so that what is due at about the same time is due at
    the same time and is sent together: half a second up to 16 s, then the power of two that makes nobody wait more
    than a sixteenth longer.
    """
    step = SHORTEST_DUE_STEP_SECONDS
    while step * 32 <= delay_seconds:
        step *= 2
    return step


SUSPICIOUS_CRASHES = 2
"""Recipients in flight at so many crashes in a row are sent one at a time."""


def goes_one_by_one(policy: RetryPolicy, *, crashes: int, resends: int) -> bool:
    """Whether recipients that were in flight when their worker died are sent one at a time from now on.

    The first time it is seldom their fault, and they are sent as anybody. At the second crash in a row, or where no
    further resend is left, whoever is in flight at the next one must be alone, so that it costs nobody else a copy.
    """
    return crashes >= SUSPICIOUS_CRASHES or (crashes > 0 and resends >= policy.max_resends)
