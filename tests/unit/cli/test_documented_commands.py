"""What the READMEs tell a reader to type is what the command line takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from shared.cli.main import app

CHECKOUT = Path(__file__).parents[3]
DOCUMENTS = ("README.md", "deploy/README.md")


def documented_commands() -> list[str]:
    """Each `tidings …` of their shell blocks, up to the end of its line or of its part of it."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"^```sh\n(.*?)^```", (CHECKOUT / document).read_text(), re.DOTALL | re.MULTILINE):
            for line in block.splitlines():
                found += re.findall(r"(?<![\w/:@`])tidings ([a-z][^&|;>]*)", line.partition("#")[0])
    return sorted({written.strip() for written in found})


@pytest.mark.parametrize("written", documented_commands())
def test_a_documented_command_is_understood(written: str) -> None:
    command = typer.main.get_command(app)
    name, *arguments = shlex.split(written)
    while hasattr(command, "commands"):
        command = command.commands[name]
        if hasattr(command, "commands"):
            name, *arguments = arguments
    command.make_context(name, arguments)  # a UsageError where it takes no such word


def test_there_are_documented_commands() -> None:
    assert "project create acme" in documented_commands()
