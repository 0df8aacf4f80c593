"""Token buckets of rate-limited accounts: rows, so that any number of workers on any number of machines share them."""

from shared.db.session import HotConnection

BURST_SECONDS = 0.1
"""What a bucket holds at most: no window of a second sees more than 1.1 times the rate."""

_OPEN = """
INSERT INTO provider_buckets (provider_seq, tokens, filled_at)
SELECT seq, 0, now() FROM providers WHERE seq = %s ON CONFLICT DO NOTHING
"""

# clock_timestamp: a transaction that waited for the row must not count the wait twice. That clock may be put back.
_LEASE = """
WITH held AS (
    SELECT provider_seq, least(
        %(rate)s::float8 * %(burst)s,
        tokens + %(rate)s::float8 * greatest(0, extract(epoch FROM clock_timestamp() - filled_at))
    ) AS tokens
    FROM provider_buckets
    WHERE provider_seq = %(provider)s
    FOR UPDATE
)
UPDATE provider_buckets
SET tokens = held.tokens - least(floor(held.tokens), %(wanted)s), filled_at = clock_timestamp()
FROM held
WHERE provider_buckets.provider_seq = held.provider_seq
RETURNING least(floor(held.tokens), %(wanted)s)::int
"""


async def open_bucket(connection: HotConnection, provider_seq: int) -> None:
    """Make the account's bucket, empty, unless it is there. An account that was deleted has none, and so no tokens."""
    await connection.execute(_OPEN, [provider_seq])


async def lease_tokens(connection: HotConnection, provider_seq: int, *, per_second: float, wanted: int) -> int:
    """Take up to `wanted` tokens out of an open bucket; 0: it is empty now."""
    burst = max(BURST_SECONDS, 1 / per_second)  # a slow account must be able to save up one token
    cursor = await connection.execute(
        _LEASE, {"provider": provider_seq, "rate": per_second, "burst": burst, "wanted": wanted}
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
