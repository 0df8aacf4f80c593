"""The description of the API: complete, sound in itself, and the one that is checked in."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from api.errors import STATUS_OF
from api.principals import USER_SCOPES
from shared.domain.api_key import SCOPES
from tests.openapi_document import CHECKED_IN, served_document, written

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return served_document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method} {path}", operation


def texts_under(key: str, value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from texts_under(key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_under(key, inner)


def test_it_is_the_one_checked_in(document: dict[str, Any]) -> None:
    is_same = CHECKED_IN.read_text() == written(document)
    assert is_same, "look at the change, then write it down: python -m tests.openapi_document"


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert set(operation["tags"]) <= tags, name
        assert "default" in operation["responses"], name
        assert "422" not in operation["responses"], f"{name}: the contract has no such status"
        assert operation.get("security") is not None, name


def test_operation_ids_are_unique_and_as_the_sdks_name_calls(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9]*", name) for name in names)


def test_path_parameters_are_those_of_the_path(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        declared = {given["name"] for given in operation.get("parameters", []) if given["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", name)), name


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for reference in texts_under("$ref", document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_scopes_are_those_a_key_can_have(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for scope in filter(None, operation.get("x-scope", "").split(" | ")):
            assert scope in USER_SCOPES.union(SCOPES), f"{name}: {scope}"


def test_refusals_are_known_types_under_their_status(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if status == "default" or int(status) < 400:
                continue
            for type_ in re.findall(r"`(\w+)`", response["description"]):
                assert STATUS_OF[type_] == int(status), f"{name}: {type_}"


def test_every_field_has_a_title(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            assert "title" in described or "$ref" in described, f"{name}.{field}"


def test_models_give_every_field(document: dict[str, Any]) -> None:
    """Typed SDKs need them all (contract §2)."""
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Model"):
            assert set(schema.get("required", ())) == set(schema["properties"]), name
