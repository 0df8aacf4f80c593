"""What collects the logs has to read them: one JSON object a line, whoever wrote it."""

import json
from functools import partial
from pathlib import Path

from tests.flow.deliver.conftest import Desk
from tests.processes import wait_until


def test_every_line_of_every_role_is_json(desk: Desk) -> None:
    system = desk.installation.system
    for role in system.roles:
        log = system.supervisor.log_of(role.name)
        wait_until(partial(_is_written, log))
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert {line["role"] for line in lines} == {role.name.partition("-")[0]}


def _is_written(log: Path) -> bool:
    return log.read_bytes().endswith(b"\n")
