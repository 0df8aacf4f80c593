"""What all models on the wire share: camel case, strict input, every field always present in answers."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, PlainSerializer, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import ComputedFieldInfo, FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from api.schemas.examples import add_examples
from shared.clock import to_wire

WireMoment = Annotated[
    datetime,
    PlainSerializer(to_wire, return_type=str),
    Field(examples=["2020-10-15T06:38:00.000+00:00"]),
]


def _title(name: str, _field: FieldInfo | ComputedFieldInfo) -> str:
    return name.replace("_", " ").capitalize()


class _Described(BaseModel):
    """Every field with an example."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(schema)
        cls._complete(handler.resolve_ref_schema(reference))
        return reference

    @classmethod
    def _complete(cls, described: dict[str, Any]) -> None:
        add_examples(described.get("properties", {}))


class Parameters(_Described):
    """A JSON body or form. Unknown keys are ignored (contract §1.5), types are not coerced (§5)."""

    model_config = ConfigDict(alias_generator=to_camel, field_title_generator=_title, strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_means_absent(cls, given: Any) -> Any:
        """So an optional field's default stands for both."""
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given

    @classmethod
    def _complete(cls, described: dict[str, Any]) -> None:
        """Optional fields take null, and an empty default only stands for nothing: it could not be sent."""
        super()._complete(described)
        for name, schema in described.get("properties", {}).items():
            if name not in described.get("required", ()):
                _allow_null(schema)
            if schema.get("default") == "":
                del schema["default"]


def _allow_null(schema: dict[str, Any]) -> None:
    null = {"type": "null"}
    if "anyOf" in schema:
        schema["anyOf"] = [*(one for one in schema["anyOf"] if one != null), null]
    elif any(key in schema for key in ("type", "enum", "$ref")):
        values = {key: schema.pop(key) for key in set(schema) - {"title", "description", "default", "examples"}}
        schema["anyOf"] = [values, null]


class QueryParameters(_Described):
    """A query string: everything arrives as text, so numbers and booleans are read out of it."""

    model_config = ConfigDict(alias_generator=to_camel, field_title_generator=_title, frozen=True)


class WireModel(_Described):
    """A response. Built by Python names, written by wire names."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        field_title_generator=_title,
        validate_by_name=True,
        serialize_by_alias=True,
        frozen=True,
    )


class StoredModel(WireModel):
    """The three fields that every stored thing opens with."""

    id: str = Field(alias="$id")
    created_at: WireMoment = Field(alias="$createdAt")
    updated_at: WireMoment = Field(alias="$updatedAt")
