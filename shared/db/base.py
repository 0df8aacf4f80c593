"""Declarative base, naming convention and the column shapes that many tables repeat."""

from datetime import datetime
from typing import Annotated

from sqlalchemy import ARRAY, BigInteger, DateTime, Identity, Integer, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

Seq = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]
"""Internal key: never leaves the server."""

SeqRef = Annotated[int, mapped_column(BigInteger)]
"""Another table's seq. Deliberately without a foreign key where rows are purged in pages."""

ProjectRef = Annotated[int, mapped_column(Integer)]

CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
UpdatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it as a class attribute
        str: Text(),
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text()),
        list[int]: ARRAY(BigInteger()),
        dict[str, object]: JSONB(),
    }
