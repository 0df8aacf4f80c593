"""`python -m shared.simulator`: the simulator as a process of its own."""

import argparse
import asyncio
import json
import signal
from dataclasses import fields
from pathlib import Path
from typing import Any

import structlog
import uvloop

from shared.errors import ConfigurationError
from shared.exits import exit_on_error
from shared.logging import configure_logging
from shared.settings import load_settings
from shared.simulator.simulator import HTTP_PROVIDERS, Ports, Simulator

LARGEST_PORT = 65_535


def main() -> None:
    with exit_on_error():
        settings = load_settings()
        configure_logging(settings, role="simulator")
        options = _parser(settings.simulator_dir).parse_args()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ports = Ports(**{field.name: getattr(options, f"{field.name}_port") for field in fields(Ports)})
    faults = _read_faults(options.faults)
    async with Simulator.running(
        options.dir, host=options.host, advertised=options.advertise, ports=ports, faults=faults
    ) as simulator:
        endpoints = {name: where for name, where in simulator.describe().items() if isinstance(where, str)}
        structlog.get_logger().info("simulator is ready", **endpoints)
        await stop.wait()


def _parser(directory: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared.simulator",
        description="Speak the providers' protocols, accept what they would, keep it on record and show it.",
        epilog="`tidings simulator faults` shows and changes how a running one misbehaves.",
    )
    parser.add_argument("--dir", type=Path, default=directory, help="record and certificates (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--advertise", metavar="NAME", help="name that clients know the host by (default: the host)")
    for name, default, what in (
        ("smtp", 2525, "SMTP with STARTTLS"),
        ("smtps", 2465, "SMTP in TLS from the first byte"),
        ("fcm", 9443, "FCM and its token endpoint, HTTPS"),
        ("apns", 9444, "APNs, HTTP/2 only"),
        ("https", 8443, "the other providers, HTTPS"),
        ("http", 8025, "the inbox page and its HTTP API"),
    ):
        help_text = f"{what}; 0 takes a free port (default: %(default)s)"
        parser.add_argument(f"--{name}-port", type=_port, metavar="PORT", default=default, help=help_text)
    for facts in HTTP_PROVIDERS:
        help_text = f"{facts.name} alone, so that its connections may fail by themselves (default: with the others)"
        parser.add_argument(f"--{facts.name}-port", type=_port, metavar="PORT", help=help_text)
    parser.add_argument(
        "--faults", metavar="JSON|@FILE", help="""profiles to start with, as '{"fcm": {"latency_ms": 200}}'"""
    )
    return parser


def _port(text: str) -> int:
    """Checked here, as uvloop would take 65536 for 0 and so on."""
    if not text.isdecimal() or int(text) > LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to {LARGEST_PORT}")
    return int(text)


def _read_faults(text: str | None) -> Any:
    if text is None:
        return {}
    try:
        return json.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--faults cannot be read: {error}") from error


if __name__ == "__main__":
    main()
