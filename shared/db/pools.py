"""How many database connections a process of each role may hold."""

from collections.abc import Mapping

CONNECTIONS_PER_PROCESS: Mapping[str, int] = {"api": 10, "worker": 5, "scheduler": 3}
