"""One SDK in an environment of its own: it is told what to call, and says what it made of the answer."""

import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

ENVIRONMENTS = Path(__file__).parents[2] / ".sdk"
"""Where the Makefile installs what environments/NAME locks."""

CALLERS = Path(__file__).parent / "callers"

PACKAGES = {"node": "node-appwrite", "web": "appwrite"}
"""Of npm, by the first word of the environment's name."""


class Refused(Exception):  # an event, named for what happened
    """What the SDK raised for an answer of 400 and above."""

    def __init__(self, code: int, type: str, message: str) -> None:  # noqa: A002  # the contract's word
        super().__init__(f"{code} {type}: {message}")
        self.refusal = (code, type)


def _command(name: str) -> list[str]:
    directory = ENVIRONMENTS / name
    language, _, version = name.partition("-")
    if language != "python" and not all(shutil.which(tool) for tool in ("node", "npm")):
        pytest.skip(f"Node is not installed, so the tour of {PACKAGES[language]} {version} was not made")
    if not (directory / ".installed").exists():
        pytest.fail(f"{directory} is missing. Run `make sdk` once; it installs the SDKs and needs the network for it.")
    if language == "python":
        return [str(directory / "bin" / "python"), "-I", str(CALLERS / "python_caller.py")]
    return ["node", str(CALLERS / "node_caller.mjs"), PACKAGES[language]]


class Sdk:
    """A process that makes calls one after the other. Also counts what of the SDK was used."""

    def __init__(self, name: str) -> None:
        """`name` is that of an environment, such as python-27.0.0."""
        self.name = name
        self._process = subprocess.Popen(
            _command(name), cwd=ENVIRONMENTS / name, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._methods: dict[str, dict[str, list[str]]] = self._read()  # by service and method: parameters, lower case
        self._used: dict[str, dict[str, set[str]]] = {}  # likewise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def spellings(self, service: str, method: str) -> list[str]:
        """All that it calls this method: none where it is older or newer than the method, two with an alias."""
        return [name for name in self._methods[service] if name.lower() == method.lower()]

    def takes(self, service: str, method: str, parameter: str) -> bool:
        names = self.spellings(service, method)
        return bool(names) and parameter.lower() in self._methods[service][names[0]]

    def call(self, access: dict[str, str], service: str, method: str, arguments: dict[str, Any]) -> Any:
        """The answer as it was on the wire. What the SDK does not know yet it is not told. Raises Refused."""
        name = method if method in self._methods[service] else self.spellings(service, method)[0]
        known = {key: value for key, value in arguments.items() if key.lower() in self._methods[service][name]}
        self._used.setdefault(service, {}).setdefault(name, set()).update(key.lower() for key in known)
        order = {"access": access, "service": service, "method": name, "arguments": known}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "refused" in answer:
            raise Refused(**answer["refused"])
        return answer["answer"]

    def left_out(self, service: str, word: str = "") -> dict[str, list[str]]:
        """By SERVICE.METHOD what parameters were never given, of the methods with this word (lower case) in their name.

        An empty list: it was never called, and has none.
        """
        used = self._used.get(service, {})
        return {
            f"{service}.{name.lower()}": sorted(set(parameters) - used.get(name, set()))
            for name, parameters in self._methods.get(service, {}).items()
            if word in name.lower() and (name not in used or set(parameters) - used[name])
        }

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the caller of {self.name} ended with {self._process.wait()}; its stderr says why"
        return json.loads(line)


def make(maker: str, function: str, *arguments: object) -> dict[str, object]:
    """An argument that the SDK itself is to build, as in `make("Query", "limit", 5)`."""
    return {"make": [maker, function, *arguments]}


def query(method: str, *arguments: object) -> dict[str, object]:
    return make("Query", method, *arguments)


UNIQUE = make("ID", "unique")
