"""What all models on the wire share: camel case, strict input, every field always present in answers."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel
from pydantic.fields import ComputedFieldInfo, FieldInfo

from shared.clock import to_wire

WireMoment = Annotated[
    datetime,
    PlainSerializer(to_wire, return_type=str),
    Field(examples=["2020-10-15T06:38:00.000+00:00"]),
]


def _title(name: str, _field: FieldInfo | ComputedFieldInfo) -> str:
    return name.replace("_", " ").capitalize()


class Parameters(BaseModel):
    """A JSON body or form. Unknown keys are ignored (contract §1.5), types are not coerced (§5).

    Null means absent: nulls are dropped before validation, so an optional field's default stands for both.
    """

    model_config = ConfigDict(alias_generator=to_camel, field_title_generator=_title, strict=True, frozen=True)


class QueryParameters(BaseModel):
    """A query string: everything arrives as text, so numbers and booleans are read out of it."""

    model_config = ConfigDict(alias_generator=to_camel, field_title_generator=_title, frozen=True)


class WireModel(BaseModel):
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
