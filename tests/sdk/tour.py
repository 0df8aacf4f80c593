"""A tour: one SDK in a project of its own, as whoever the credentials say."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tests.flow.conftest import Installation
from tests.sdk.sdk import Sdk

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(20)


class Service(Protocol):
    """A method's name as the JavaScript SDKs have it, its arguments by their names on the wire."""

    def __call__(self, method: str, **arguments: Any) -> Any: ...


class Principal:
    """Somebody who calls: with the project's key, a session, a JWT, or nothing at all."""

    account: Service
    databases: Service
    messaging: Service
    storage: Service
    users: Service

    def __init__(self, sdk: Sdk, **access: str) -> None:
        def call(service: str, method: str, **arguments: Any) -> Any:
            return sdk.call(access, service, method, arguments)

        for service in Principal.__annotations__:
            setattr(self, service, partial(call, service))


@dataclass(frozen=True, slots=True)
class Tour:
    sdk: Sdk
    installation: Installation
    directory: Path  # for files to upload

    @property
    def project_id(self) -> str:
        return self.installation.factory.project_id

    @property
    def owner(self) -> Principal:
        return self.principal(key=self.installation.factory.key)

    def principal(self, **credentials: str) -> Principal:
        return Principal(self.sdk, endpoint=self.installation.endpoint, project=self.project_id, **credentials)

    def address(self, name: str) -> str:
        """Of nobody else in the simulator's record, which all tours share."""
        return f"{name}@{self.project_id}.example.com"

    def file(self, name: str, content: bytes) -> dict[str, object]:
        """An argument: the file as the SDK reads it from the disk."""
        path = self.directory / name
        path.write_bytes(content)
        return {"make": ["InputFile", "fromPath", str(path), *([name] if self.sdk.name.startswith("node") else [])]}

    def account(self, provider: str) -> Any:
        """A credential that the simulator knows."""
        path = self.installation.system.directory.path / "simulator" / "simulator.json"
        simulator = json.loads(path.read_text())
        return simulator["fcm_service_account"] if provider == "fcm" else simulator["credentials"][provider]

    def captured(self, title: str) -> list[dict[str, Any]]:
        """What the simulator accepted under this subject, title or text, a line for each recipient."""
        lines = (json.loads(line) for line in self.installation.record.read_text().splitlines())
        return [line for line in lines if line["title"] == title]


def fingerprint(content: bytes) -> dict[str, object]:
    """How a caller describes bytes that it downloaded."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
