"""The description of the API: complete and sound in itself."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.errors import STATUS_OF
from api.principals import USER_SCOPES
from shared.domain.api_key import SCOPES
from tests.openapi_document import served_document

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


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        assert set(operation["tags"]) <= tags, name
        assert operation["security"] == [] or operation["x-scope"], name


def test_every_operation_says_how_it_refuses(document: dict[str, Any]) -> None:
    """All of its statuses, so that the fuzz tests may take any other for a mistake."""
    for name, operation in operations(document):
        statuses = operation["responses"].keys()
        assert {"401", "403", "404", "5XX"} <= statuses, name
        assert ("400" in statuses) == takes_parameters(operation), name
        assert ("413" in statuses) == ("requestBody" in operation), name
        assert "422" not in statuses, f"{name}: the contract has no such status"


def takes_parameters(operation: dict[str, Any]) -> bool:
    return bool(operation.get("parameters")) or "requestBody" in operation


def test_operation_ids_are_unique_and_as_the_sdks_name_calls(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9]*", name) for name in names)


def test_path_parameters_are_those_of_the_path(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        declared = {given["name"] for given in operation.get("parameters", []) if given["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", name)), name


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    for reference in texts_under("$ref", document):
        root, components, kind, name = reference.split("/")
        assert (root, components) == ("#", "components")
        assert name in document[components][kind]


def test_scopes_are_those_a_key_can_have(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for scope in filter(None, operation.get("x-scope", "").split(" | ")):
            assert scope in USER_SCOPES.union(SCOPES), f"{name}: {scope}"


def test_refusals_are_known_types_under_their_status(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            for type_ in re.findall(r"`(\w+)`", follow(response, document)["description"]):
                assert re.fullmatch(status.replace("X", "."), str(STATUS_OF[type_])), f"{name}: {type_}"


def follow(described: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """What is described, or what the description refers to."""
    if "$ref" not in described:
        return described
    _, components, kind, name = described["$ref"].split("/")
    found: dict[str, Any] = document[components][kind][name]
    return found


def test_every_field_has_a_title(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            assert "title" in described or "$ref" in described, f"{name}.{field}"


def test_every_text_and_list_and_object_has_an_example(document: dict[str, Any]) -> None:
    """Numbers, booleans and choices of values speak for themselves."""
    fields = {
        f"{model}.{name}": field
        for model, schema in document["components"]["schemas"].items()
        for name, field in schema.get("properties", {}).items()
    }
    parameters = {
        f"{name}: {parameter['name']}": parameter["schema"]
        for name, operation in operations(document)
        for parameter in operation.get("parameters", ())
    }
    assert [name for name, schema in (fields | parameters).items() if not speaks_for_itself(schema)] == []


def speaks_for_itself(schema: dict[str, Any]) -> bool:
    alternatives = [schema, *schema.get("anyOf", ())]
    if any(key in one for one in alternatives for key in ("examples", "enum", "const", "$ref")):
        return True
    if any("$ref" in one.get("items", {}) for one in alternatives):
        return True
    return not any(one.get("type") in {"string", "array", "object"} for one in alternatives)


def test_models_give_every_field(document: dict[str, Any]) -> None:
    """Typed SDKs need them all (contract §2)."""
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Model"):
            assert set(schema.get("required", ())) == set(schema["properties"]), name
