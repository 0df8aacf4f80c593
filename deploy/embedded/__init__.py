"""Postgres and Redis of a try-out or a test run, from the binaries of two Python packages, under our supervision.

    with DataDirectory(path) as directory, EmbeddedPostgres(directory) as postgres:
        use(postgres.url)

Both listen on 127.0.0.1 over TCP and ask for a password. A Unix socket saves some 5 microseconds of client CPU per
statement (one hot-path statement costs 440), but its path may have 107 bytes at most, it is left behind by kill -9,
and a URL with a port is what every tool understands.
"""

from deploy.embedded.child import Progress, spawn, stop
from deploy.embedded.directory import DataDirectory
from deploy.embedded.ports import choose_port, choose_ports, is_port_free
from deploy.embedded.postgres import EmbeddedPostgres
from deploy.embedded.redis import EmbeddedRedis

__all__ = [
    "DataDirectory",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "Progress",
    "choose_port",
    "choose_ports",
    "is_port_free",
    "spawn",
    "stop",
]
