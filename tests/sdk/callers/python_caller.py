"""Makes the calls it is told, a JSON line each, with the Appwrite SDK of the environment that it runs in.

First it says which methods there are; then each order gets one answer:
{"access", "service", "method", "arguments"} -> {"answer": ...} or {"refused": {"code", "type", "message"}}
"""

import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, get_args, get_type_hints

from appwrite.client import Client
from appwrite.exception import AppwriteException
from appwrite.id import ID
from appwrite.input_file import InputFile
from appwrite.permission import Permission
from appwrite.query import Query
from appwrite.role import Role

SERVICES = {
    name: getattr(importlib.import_module(f"appwrite.services.{name}"), name.title())
    for name in ("account", "databases", "messaging", "storage", "users")
}
MAKERS = {maker.__name__: maker for maker in (ID, InputFile, Permission, Query, Role)}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # the older SDKs print warnings
    print(json.dumps({name: methods_of(service) for name, service in SERVICES.items()}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def methods_of(service: type) -> dict[str, list[str]]:
    """Each method with its parameters, folded."""
    return {
        fold(name): [fold(parameter) for parameter in inspect.signature(method).parameters if parameter != "self"]
        for name, method in inspect.getmembers(service, inspect.isfunction)
        if not name.startswith("_")
    }


def answer(order: dict[str, Any]) -> dict[str, Any]:
    client = Client()
    for name, value in order["access"].items():
        getattr(client, f"set_{name}")(value)
    service = SERVICES[order["service"]](client)
    method = getattr(service, spelled(order["method"], dir(service)))
    try:
        return {"answer": describe(method(**arguments_for(method, order["arguments"])))}
    except AppwriteException as error:
        return {"refused": {"code": error.code, "type": error.type, "message": error.message}}


def arguments_for(method: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(method)
    named = {spelled(name, inspect.signature(method).parameters): make(value) for name, value in arguments.items()}
    return {name: as_hinted(value, hints[name]) for name, value in named.items()}


def as_hinted(value: Any, hint: Any) -> Any:
    """People pass the SDK's enums, not strings."""
    for choice in (hint, *get_args(hint)):
        if inspect.isclass(choice) and issubclass(choice, Enum):
            return choice(value)
    return value


def make(value: Any) -> Any:
    """Whatever the SDK itself is to build: {"make": ["Query", "limit", 5]}."""
    if isinstance(value, list):
        return [make(item) for item in value]
    if isinstance(value, dict) and set(value) == {"make"}:
        maker, function, *arguments = value["make"]
        made = MAKERS[maker]
        return getattr(made, spelled(function, dir(made)))(*(make(argument) for argument in arguments))
    return value


def fold(name: str) -> str:
    """What is left of a name in every language: xfrom and from, service_account_json and serviceAccountJSON."""
    return name.replace("_", "").lower().removeprefix("x")


def spelled(name: str, names: Iterable[str]) -> str:
    """The one of the SDK's own names that is meant."""
    return {fold(candidate): candidate for candidate in names}[fold(name)]


def describe(result: Any) -> Any:
    """A model as it was on the wire; bytes by their fingerprint."""
    if isinstance(result, bytes):
        return {"bytes": len(result), "sha256": hashlib.sha256(result).hexdigest()}
    return result.to_dict() if hasattr(result, "to_dict") else result


if __name__ == "__main__":
    main()
