"""Errors on the wire: one table from the contract's types to statuses, and the body every refusal travels in."""

from collections.abc import Mapping
from importlib.metadata import version

import psycopg
import sqlalchemy.exc

from api.schemas.base import WireModel

VERSION = version("tidings")

# Contract §4, in its order. Those marked as ours have no counterpart there.
_TYPES: dict[int, tuple[str, ...]] = {
    400: (
        "general_argument_invalid",
        "general_query_invalid",
        "general_cursor_not_found",
        "general_invalid_email",
        "general_invalid_phone",
        "database_query_order_null",
        "provider_incorrect_type",
        "provider_missing_credentials",
        "target_provider_invalid_type",
        "message_missing_target",
        "message_target_not_email",
        "message_target_not_sms",
        "message_target_not_push",
        "message_missing_schedule",
        "message_already_scheduled",
        "message_already_processing",
        "message_already_sent",
        "message_already_failed",
        "storage_file_empty",
        "storage_file_type_unsupported",
        "storage_invalid_file_size",
        "storage_invalid_content_range",
        "storage_invalid_appwrite_id",
        "document_missing_data",
        "document_invalid_structure",
        "password_personal_data",
    ),
    401: (
        "general_unauthorized_scope",
        "general_access_forbidden",
        "user_unauthorized",
        "user_jwt_invalid",
        "user_invalid_credentials",
        "user_session_already_exists",
        "project_key_expired",
    ),
    403: (
        "general_unknown_origin",
        "user_blocked",
        "user_api_key_and_session_set",
        "user_jwt_and_cookie_set",
        "project_id_missing",
        "storage_invalid_file",
    ),
    404: (
        "general_route_not_found",
        "project_not_found",
        "message_not_found",
        "provider_not_found",
        "topic_not_found",
        "subscriber_not_found",
        "user_not_found",
        "user_target_not_found",
        "user_session_not_found",
        "schedule_not_found",
        "storage_bucket_not_found",
        "storage_file_not_found",
        "database_not_found",
        "collection_not_found",
        "import_not_found",  # ours
        "suppression_not_found",  # ours
    ),
    409: (
        "provider_already_exists",
        "topic_already_exists",
        "subscriber_already_exists",
        "user_target_already_exists",
        "user_already_exists",
        "user_email_already_exists",
        "storage_bucket_already_exists",
        "storage_file_already_exists",
        "document_already_exists",
        "database_already_exists",
        "collection_already_exists",
        "message_already_exists",
        "suppression_already_exists",  # ours
    ),
    413: ("general_body_too_large",),  # ours
    416: ("storage_invalid_range",),
    429: ("general_rate_limit_exceeded",),
    500: ("general_unknown",),
    501: ("user_count_exceeded",),  # Appwrite's own; the contract has no closed projects
    503: (
        "health_queue_size_exceeded",
        "general_database_unavailable",  # ours
        "general_storage_unavailable",  # ours
        "installation_not_live",  # ours
    ),
}

STATUS_OF: Mapping[str, int] = {type_: status for status, types in _TYPES.items() for type_ in types}

ERROR_HEADERS = (
    (b"cache-control", b"no-cache, no-store, must-revalidate"),
    (b"expires", b"0"),
    (b"pragma", b"no-cache"),
)

RETRY_AFTER_SECONDS = 1

DATABASE_TROUBLE = (
    # no connection, a lost one, a timeout, a deadlock: nothing the caller did, worth another try
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,  # every pooled connection was busy for too long
)


class Overdue(Exception):  # it states what happened
    """The work of a request took too long; nearly always because the database stands still."""


def explain_trouble(error: BaseException) -> str:
    """What a caller can do about DATABASE_TROUBLE."""
    if isinstance(getattr(error, "orig", error), psycopg.errors.QueryCanceled):
        return "The database took too long. Try again, or ask for less at once."
    return "The database does not answer. Try again."


class ErrorModel(WireModel):
    """What went wrong. `type` is for programs, `message` for people."""

    message: str
    code: int
    type: str
    version: str


def error_body(type_: str, message: str) -> ErrorModel:
    return ErrorModel(message=message, code=STATUS_OF[type_], type=type_, version=VERSION)
