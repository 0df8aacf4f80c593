"""Buckets and files on the wire (contract §16)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.permissions import ContainerPermissions, ThingPermissions
from api.schemas.base import Parameters, StoredModel, WireModel
from api.schemas.values import CustomId, LooseBoolean, Text128, Text255
from shared.db.models import Bucket, StoredFile

Extensions = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=64)]],
    Field(max_length=100, description="Without the dot; none: any"),
]
Compression = Literal["none", "gzip", "zstd"]
FileSize = Annotated[int, Field(ge=1, description="Bytes; at most what the server allows, which is the default")]


class BucketCreate(Parameters):
    bucket_id: CustomId
    name: Text128
    permissions: ContainerPermissions = Field(default_factory=list)
    file_security: Annotated[LooseBoolean, Field(description="Permissions of single files count too")] = False
    enabled: LooseBoolean = True
    maximum_file_size: FileSize | None = None
    allowed_file_extensions: Extensions = Field(default_factory=list)
    compression: Annotated[Compression, Field(description="Read back only: files are kept as they came")] = "none"
    encryption: Annotated[LooseBoolean, Field(description="Read back only")] = True
    antivirus: Annotated[LooseBoolean, Field(description="Read back only")] = True
    transformations: Annotated[LooseBoolean, Field(description="Read back only")] = True


class BucketUpdate(Parameters):
    name: Text128
    permissions: ContainerPermissions | None = None
    file_security: LooseBoolean | None = None
    enabled: LooseBoolean | None = None
    maximum_file_size: FileSize | None = None
    allowed_file_extensions: Extensions | None = None
    compression: Compression | None = None
    encryption: LooseBoolean | None = None
    antivirus: LooseBoolean | None = None
    transformations: LooseBoolean | None = None


class BucketModel(StoredModel):
    permissions: list[str] = Field(alias="$permissions")
    file_security: bool
    name: str
    description: str
    enabled: bool
    maximum_file_size: int
    allowed_file_extensions: list[str]
    compression: str
    encryption: bool
    antivirus: bool
    transformations: bool
    strip_metadata: bool
    total_size: int

    @classmethod
    def of(cls, bucket: Bucket, total_size: int) -> "BucketModel":
        return cls(
            id=bucket.id,
            created_at=bucket.created_at,
            updated_at=bucket.updated_at,
            permissions=bucket.permissions,
            file_security=bucket.file_security,
            name=bucket.name,
            description="",
            enabled=bucket.enabled,
            maximum_file_size=bucket.maximum_file_size,
            allowed_file_extensions=bucket.allowed_file_extensions,
            compression=bucket.compression,
            encryption=bucket.encryption,
            antivirus=bucket.antivirus,
            transformations=bucket.transformations,
            strip_metadata=False,
            total_size=total_size,
        )


class BucketList(WireModel):
    total: int
    buckets: list[BucketModel]


class FileCreate(Parameters):
    """Beside the `file` itself, which the form has as a part of its own."""

    file_id: CustomId
    permissions: ThingPermissions | None = None


class FileUpdate(Parameters):
    name: Text255 | None = None
    permissions: ThingPermissions | None = None


class FileModel(StoredModel):
    bucket_id: str
    permissions: list[str] = Field(alias="$permissions")
    name: str
    folder: str
    key: str
    signature: str = Field(description="MD5 in hex; empty until the file is complete")
    mime_type: str = Field(description="By its content; empty until the file is complete")
    size_original: int
    size_actual: int
    chunks_total: int
    chunks_uploaded: int
    encryption: bool
    compression: str

    @classmethod
    def of(cls, file: StoredFile, bucket_id: str) -> "FileModel":
        return cls(
            id=file.id,
            created_at=file.created_at,
            updated_at=file.updated_at,
            bucket_id=bucket_id,
            permissions=file.permissions,
            name=file.name,
            folder="",
            key="",
            signature=file.signature,
            mime_type=file.mime_type,
            size_original=file.size,
            size_actual=file.size,
            chunks_total=file.chunks_total,
            chunks_uploaded=file.chunks_uploaded,
            encryption=False,
            compression="none",
        )


class FileList(WireModel):
    total: int
    files: list[FileModel]
