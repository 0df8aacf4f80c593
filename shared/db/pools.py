"""How many database connections a process of each role may hold; `tidings doctor` adds them up."""

from collections.abc import Mapping

CONNECTIONS_PER_PROCESS: Mapping[str, int] = {
    "api": 10,
    "worker": 5,  # claim, plan, record, renew leases, and a token in the making
    "scheduler": 3,
}
