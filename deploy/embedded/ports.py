"""Ports on 127.0.0.1 that nothing listens on."""

import random
import socket
from collections import deque
from itertools import islice

LOOPBACK = "127.0.0.1"

_lately: deque[int] = deque(maxlen=200)

# Below the ports that systems give to outgoing connections (from 32768, in some sandboxes from 16000): a client that
# keeps calling a port of that range while its server restarts may connect to itself, and then holds the port.
RANGE = range(12_000, 16_000)


def is_port_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier server may linger
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose_port(preferred: int | None = None) -> int:
    """`preferred` if it is free, else one at random. Another process may still take it first: be ready to retry."""
    if preferred is not None and is_port_free(preferred):
        return preferred
    return choose_ports(1)[0]


def choose_ports(count: int) -> list[int]:
    """So many different ones; none that this process has chosen lately, as whoever it was for may not listen yet."""
    free = (port for port in random.sample(RANGE, k=len(RANGE)) if port not in _lately and is_port_free(port))
    chosen = list(islice(free, count))
    _lately.extend(chosen)
    return chosen
