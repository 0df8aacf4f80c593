"""How many database connections a process of each role may hold; `tidings doctor` adds them up."""

from collections.abc import Mapping

SCHEDULER_URGENT = 4
"""One for each tick that somebody waits for, so that none waits for another's."""

SCHEDULER_HOUSEKEEPING = 2

CONNECTIONS_PER_PROCESS: Mapping[str, int] = {
    "api": 10,
    "worker": 7,  # claim, plan small and large messages, record, write late, files, and rates, tokens and upkeep
    "scheduler": SCHEDULER_URGENT + SCHEDULER_HOUSEKEEPING,
}
