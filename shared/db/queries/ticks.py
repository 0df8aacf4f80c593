"""When each periodic job last ran, and whose turn it is: any number of processes share the work without talking."""

from shared.db.session import HotConnection

# A row of the future was written before the database's clock was put back, or by a database with another clock.
_TAKE = """
INSERT INTO ticks (name, ran_at) VALUES (%(name)s, now())
ON CONFLICT (name) DO UPDATE SET ran_at = now()
WHERE abs(extract(epoch FROM now() - ticks.ran_at)) >= %(unless_within)s
RETURNING true
"""


async def take_tick(connection: HotConnection, name: str, *, unless_within_seconds: float) -> bool:
    """Whether the job is ours to run now: nobody took it within these seconds, and nobody else takes it at once."""
    cursor = await connection.execute(_TAKE, {"name": name, "unless_within": unless_within_seconds})
    return await cursor.fetchone() is not None


async def seconds_since_tick(connection: HotConnection, name: str) -> float | None:
    """By the database's clock; None when the job never ran. Locks nothing, where a refused `take_tick` would."""
    cursor = await connection.execute(
        "SELECT abs(extract(epoch FROM now() - ran_at))::float8 FROM ticks WHERE name = %s", [name]
    )
    row = await cursor.fetchone()
    return None if row is None else float(row[0])
