"""What every list takes (contract §6)."""

from typing import Annotated

from pydantic import Field

from api.schemas.base import QueryParameters
from api.schemas.values import LooseBoolean, Text256

MAX_QUERIES = 100
MAX_QUERY_LENGTH = 4096

Queries = Annotated[
    list[Annotated[str, Field(max_length=MAX_QUERY_LENGTH, json_schema_extra={"format": "query"})]],
    Field(
        max_length=MAX_QUERIES,
        description='Each a JSON object such as `{"method": "equal", "attribute": "name", "values": ["News"]}`;'
        " sent as `queries[0]=…&queries[1]=…`",
    ),
]


class ListParameters(QueryParameters):
    queries: Queries = Field(default_factory=list)
    search: Annotated[Text256 | None, Field(description="Words to find, the last one by its beginning")] = None
    total: Annotated[LooseBoolean, Field(description="false: `total` is 0 and costs nothing")] = True


class UnsearchableListParameters(QueryParameters):
    queries: Queries = Field(default_factory=list)
    total: Annotated[LooseBoolean, Field(description="false: `total` is 0 and costs nothing")] = True
