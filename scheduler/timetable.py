"""Every periodic job in one table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from scheduler.context import TickContext
from scheduler.files import purge_uploads, remove_objects
from scheduler.fold import fold
from scheduler.retention import (
    keep_partitions_ahead,
    purge_audit_log,
    purge_imports,
    purge_receipts,
    purge_sessions,
    purge_targets,
    purge_topics,
    purge_users,
)
from scheduler.sweep import ring_stale_work
from shared.settings import Settings
from shared.upkeep.recover import recover
from shared.upkeep.release import release
from shared.upkeep.stand_in import RECOVER, RELEASE


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    interval_seconds: float
    run: Callable[[TickContext], Awaitable[None]]
    # Somebody waits for what it does. Each of these has a database connection to itself; the others share a few, so a
    # purge whose pages take long, or several of them, hold up nobody but each other.
    is_urgent: bool = False


def timetable(settings: Settings) -> tuple[Entry, ...]:
    return (
        Entry(RELEASE, settings.release_interval_seconds, release, is_urgent=True),
        Entry(RECOVER, settings.sweep_interval_seconds, recover, is_urgent=True),
        Entry("sweep.ring", settings.sweep_interval_seconds, ring_stale_work, is_urgent=True),
        Entry("fold", settings.fold_interval_seconds, fold, is_urgent=True),
        Entry("retention.partitions", 3_600, keep_partitions_ahead),
        Entry("retention.topics", 30, purge_topics),
        Entry("retention.users", 30, purge_users),
        Entry("retention.sessions", 600, purge_sessions),
        Entry("retention.targets", 3_600, purge_targets),
        Entry("retention.receipts", 3_600, purge_receipts),
        Entry("retention.imports", 3_600, purge_imports),
        Entry("retention.audit", 3_600, purge_audit_log),
        Entry("files.objects", settings.sweep_interval_seconds, remove_objects),
        Entry("files.uploads", 3_600, purge_uploads),
    )
