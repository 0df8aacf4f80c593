"""One file per table (or for two that only make sense together)."""

from shared.db.models.audit_entry import AuditEntry
from shared.db.models.batch import Batch
from shared.db.models.contact_import import ContactImport, ContactImportFault, ContactImportRow
from shared.db.models.delivery import Attempt, Delivery
from shared.db.models.document import Collection, Document, DocumentDatabase
from shared.db.models.file import Bucket, FileChunk, LooseObject, StoredFile
from shared.db.models.installation import Installation, Tick
from shared.db.models.message import FanOut, Message, MessageProgress
from shared.db.models.project import ApiKey, Project
from shared.db.models.provider import Provider, ProviderBucket, ProviderToken
from shared.db.models.receipt import StoredReceipt, Suppression
from shared.db.models.target import Target
from shared.db.models.topic import Subscriber, Topic
from shared.db.models.user import User
from shared.db.models.user_session import RateWindow, UserSession

__all__ = [
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "Batch",
    "Bucket",
    "Collection",
    "ContactImport",
    "ContactImportFault",
    "ContactImportRow",
    "Delivery",
    "Document",
    "DocumentDatabase",
    "FanOut",
    "FileChunk",
    "Installation",
    "LooseObject",
    "Message",
    "MessageProgress",
    "Project",
    "Provider",
    "ProviderBucket",
    "ProviderToken",
    "RateWindow",
    "StoredFile",
    "StoredReceipt",
    "Subscriber",
    "Suppression",
    "Target",
    "Tick",
    "Topic",
    "User",
    "UserSession",
]
