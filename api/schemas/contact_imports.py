"""Contact imports: our own additions to the wire."""

from typing import Annotated

from pydantic import Field

from api.schemas.base import QueryParameters, WireModel
from api.schemas.values import LooseBoolean, PublicId, Text255
from shared.domain.contacts.encodings import Encoding
from shared.domain.contacts.fields import Field as ContactField
from shared.domain.contacts.header import Layout
from shared.domain.contacts.progress import ImportProgress, ImportState
from shared.domain.contacts.rows import MAX_TOPICS, Fault


class ImportParameters(QueryParameters):
    file_name: Annotated[Text255, Field(description="What the file is called for people")] = "contacts.csv"
    delimiter: Annotated[
        str | None, Field(min_length=1, max_length=1, description="Between cells; none: the likeliest of , ; | tab")
    ] = None
    create_topics: Annotated[
        LooseBoolean, Field(description="false: a row that names an unknown topic is a bad row")
    ] = True
    fields: dict[str, ContactField] = Field(
        default_factory=dict,
        description="For columns of other names, sent as `fields[E-Mail]=email`; `ignore` passes one over",
    )
    encoding: Annotated[
        Encoding | None,
        Field(description="none: UTF-16 where the file begins so, UTF-8 where it has any, else windows-1252"),
    ] = None
    region: Annotated[
        str | None,
        Field(min_length=2, max_length=2, description="Where numbers without + are dialled: two letters, as DE"),
    ] = None
    ignore_unknown: Annotated[
        LooseBoolean, Field(description="true: pass over columns of unknown names instead of refusing the file")
    ] = False
    topics: list[PublicId] = Field(
        default_factory=list, max_length=MAX_TOPICS, description="Every row is subscribed to these too"
    )

    def layout(self) -> Layout:
        return Layout(
            self.delimiter,
            self.fields,
            self.encoding,
            self.region,
            self.ignore_unknown,
            tuple(dict.fromkeys(self.topics)),
        )


class ImportModel(WireModel):
    """One pass over a file. The same content read the same way has the same id."""

    id: str = Field(alias="$id")
    state: ImportState
    rows: int
    bad_rows: int = Field(description="Left out; the first of them are listed under `faults`")
    faults_not_kept: int = Field(description="Bad rows that are counted only: more than `faults` has room for")
    users_created: int
    users_updated: int
    topics_created: int
    targets_created: int
    subscriptions_created: int
    staged_to: int = Field(description="Last line that was read and checked")
    merged_to: int = Field(description="Last line that was merged")
    is_repeated: bool = Field(description="The same file was imported completely before")

    @classmethod
    def of(cls, progress: ImportProgress) -> "ImportModel":
        return cls(
            id=progress.id,
            state=progress.state,
            rows=progress.rows_total,
            bad_rows=progress.bad_total,
            faults_not_kept=max(0, progress.bad_total - progress.faults_kept),
            users_created=progress.users_created,
            users_updated=progress.users_updated,
            topics_created=progress.topics_created,
            targets_created=progress.targets_created,
            subscriptions_created=progress.subscriptions_created,
            staged_to=progress.staged_to,
            merged_to=progress.merged_to,
            is_repeated=progress.is_repeated,
        )


class FaultParameters(QueryParameters):
    after_line: Annotated[int, Field(ge=0, description="The last line of the page before")] = 0


class FaultModel(WireModel):
    line: int = Field(description="Where the row begins in the file; the header is line 1")
    reason: str


class FaultPage(WireModel):
    faults: list[FaultModel] = Field(description="In the order of the file; empty after the last")

    @classmethod
    def of(cls, faults: list[Fault]) -> "FaultPage":
        return cls(faults=[FaultModel(line=fault.line, reason=fault.reason) for fault in faults])
