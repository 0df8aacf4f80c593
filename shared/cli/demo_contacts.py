"""The contact file of the demo: 20,000 made-up people, some of whom no provider can reach."""

import csv
from pathlib import Path

PEOPLE = 20_000
BROKEN_ROWS = 5
"""Rows the import must refuse and report."""

NEWS, EARLY, LATE = "news", "early-birds", "night-owls"
"""Topics: everyone; seven in ten; six in ten. The last two overlap."""


def write_contacts(path: Path) -> None:
    """One row a person: an address, a device and topics."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "name", "email", "push_token", "topics"])
        for number in range(1, PEOPLE + 1):
            writer.writerow(
                [
                    f"person-{number:05}",
                    f"Person {number}",
                    f"{_mailbox(number)}@example.com",
                    f"{_device(number)}",
                    ";".join(_topics(number)),
                ]
            )
        for number in range(1, BROKEN_ROWS + 1):
            writer.writerow([f"broken-{number}", "Nobody", "not an address", "", NEWS])


def _mailbox(number: int) -> str:
    """One in 400 does not exist, one in 500 takes no mail of ours: words that the simulator knows."""
    if number % 400 == 0:
        return f"unknown-{number}"
    if number % 500 == 1:
        return f"refused-{number}"
    return f"person-{number:05}"


def _device(number: int) -> str:
    """One in a hundred has removed the app."""
    return f"{'dead' if number % 100 == 0 else 'device'}-{number:05}"


def _topics(number: int) -> list[str]:
    digit = number % 10
    return [NEWS, *([EARLY] if digit < 7 else []), *([LATE] if digit >= 4 else [])]
