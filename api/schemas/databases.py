"""Databases, collections and documents on the wire (contract §17)."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.permissions import ContainerPermissions, ThingPermissions
from api.schemas.base import Parameters, StoredModel
from api.schemas.values import CustomId, DocumentData, Integer, LooseBoolean, PublicId, Text128
from shared.clock import to_wire
from shared.db.models import Collection, Document, DocumentDatabase

AttributeType = Literal["string", "integer", "double", "boolean", "datetime", "email"]


class DatabaseCreate(Parameters):
    database_id: CustomId
    name: Text128
    enabled: LooseBoolean = True


class DatabaseModel(StoredModel):
    name: str
    description: str
    enabled: bool
    type: Literal["legacy"]
    policies: list[Any] = Field(description="Always empty: backups are the operator's")
    archives: list[Any] = Field(description="Always empty, likewise")

    @classmethod
    def of(cls, database: DocumentDatabase) -> "DatabaseModel":
        return cls(
            id=database.id,
            created_at=database.created_at,
            updated_at=database.updated_at,
            name=database.name,
            description="",
            enabled=database.enabled,
            type="legacy",
            policies=[],
            archives=[],
        )


class AttributeDefinition(Parameters):
    key: PublicId
    type: AttributeType
    size: Annotated[Integer, Field(ge=1, description="Longest text")] = 65_535
    required: bool = False
    array: bool = False
    default: Annotated[str | int | float | bool | None, Field(examples=["unknown"])] = None


class CollectionCreate(Parameters):
    collection_id: CustomId
    name: Text128
    permissions: ContainerPermissions = Field(default_factory=list)
    document_security: LooseBoolean = False
    enabled: LooseBoolean = True
    attributes: Annotated[list[AttributeDefinition], Field(max_length=100)] = Field(default_factory=list)


class CollectionModel(StoredModel):
    permissions: list[str] = Field(alias="$permissions")
    database_id: str
    name: str
    description: str
    enabled: bool
    document_security: bool
    attributes: list[dict[str, Any]]
    indexes: list[dict[str, Any]]
    bytes_max: int
    bytes_used: int

    @classmethod
    def of(cls, collection: Collection, database_id: str) -> "CollectionModel":
        moments = {"$createdAt": to_wire(collection.created_at), "$updatedAt": to_wire(collection.updated_at)}
        shown = {"description": "", "status": "available", "error": "", **moments}
        return cls(
            id=collection.id,
            created_at=collection.created_at,
            updated_at=collection.updated_at,
            permissions=collection.permissions,
            database_id=database_id,
            name=collection.name,
            description="",
            enabled=collection.enabled,
            document_security=collection.document_security,
            attributes=[{**attribute, **shown} for attribute in collection.attributes],
            indexes=[],
            bytes_max=0,
            bytes_used=0,
        )


class DocumentCreate(Parameters):
    document_id: CustomId
    data: Annotated[DocumentData, Field(description="The collection's attributes")]
    permissions: ThingPermissions | None = None


class DocumentModel(StoredModel):
    """The attributes stand beside these fields."""

    model_config = ConfigDict(extra="allow")

    sequence: str = Field(alias="$sequence")
    collection_id: str = Field(alias="$collectionId")
    database_id: str = Field(alias="$databaseId")
    permissions: list[str] = Field(alias="$permissions")

    @classmethod
    def of(cls, document: Document, collection_id: str, database_id: str) -> "DocumentModel":
        return cls.model_validate(
            {
                **document.data,
                "$id": document.id,
                "$createdAt": document.created_at,
                "$updatedAt": document.updated_at,
                "$sequence": str(document.seq),
                "$collectionId": collection_id,
                "$databaseId": database_id,
                "$permissions": document.permissions,
            }
        )
