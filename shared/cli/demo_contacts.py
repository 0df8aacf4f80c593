"""The contact file of the demo: 20,000 made-up people, some of whom no provider can reach."""

import csv
from pathlib import Path

PEOPLE = 20_000
BROKEN_ROWS = 5
"""Rows the import must refuse and report."""

NEWS, EARLY, LATE, TEXTED = "news", "early-birds", "night-owls", "texted"
"""Topics: everyone; seven in ten; six in ten; the first with a phone. The second and third overlap."""

PHONES = 400
"""The first so many have one; one in fifty of these takes no messages, as its receipt says."""


def write_contacts(path: Path) -> None:
    """One row a person: an address, a device and topics."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "name", "email", "phone", "push_token", "topics"])
        for number in range(1, PEOPLE + 1):
            writer.writerow(
                [
                    f"person-{number:05}",
                    f"Person {number}",
                    f"{_mailbox(number)}@example.com",
                    _phone(number) if number <= PHONES else "",
                    f"{_device(number)}",
                    ";".join(_topics(number)),
                ]
            )
        for number in range(1, BROKEN_ROWS + 1):
            writer.writerow([f"broken-{number}", "Nobody", "not an address", "", "", NEWS])


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


def _phone(number: int) -> str:
    """Numbers that North America keeps for fiction; the simulator calls those ending in 0197 undelivered."""
    ending = 197 if number % 50 == 0 else 100 + number % 50
    return f"+1{201 + number // 50}5550{ending}"


def _topics(number: int) -> list[str]:
    digit = number % 10
    texted = [TEXTED] if number <= PHONES else []
    return [NEWS, *([EARLY] if digit < 7 else []), *([LATE] if digit >= 4 else []), *texted]
