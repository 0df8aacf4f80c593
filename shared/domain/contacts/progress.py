"""How far an import is: the states it goes through and its counts."""

from dataclasses import dataclass
from enum import StrEnum


class ImportState(StrEnum):
    STAGING = "staging"  # rows are read, checked and stored; no user, target or topic is touched yet
    MERGING = "merging"  # the file is complete and readable; its valid rows are being merged page by page
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """An import as its row has it. Counts are of this pass over the file."""

    id: str
    state: ImportState
    staged_to: int  # last line staged; 0 at the start
    merged_to: int  # last line merged
    rows_total: int  # rows read, good and bad
    bad_total: int
    faults_kept: int  # of the bad rows, those whose reason is kept
    users_created: int
    users_updated: int
    topics_created: int
    targets_created: int
    subscriptions_created: int
    is_repeated: bool  # the same file was imported completely before
