"""The served description of the API: FastAPI's, with the contract's security schemes."""

from typing import Any

from fastapi import FastAPI

from shared.domain.api_key import SCOPES

DESCRIPTION = """\
Push, e-mail and SMS, spoken to as the Appwrite Messaging API: Appwrite's own SDKs work unmodified.
Everything below `/v1/tidings` is an addition of ours.
"""

TAGS = [
    {"name": "messages", "description": "What is sent: written, scheduled, changed, followed."},
    {"name": "providers", "description": "The accounts that deliver."},
    {"name": "topics", "description": "Named audiences."},
    {"name": "subscribers", "description": "Who is in a topic."},
    {"name": "logs", "description": "Who changed what."},
    {"name": "users", "description": "People."},
    {"name": "account", "description": "The user who is logged in: sessions, JWTs, own devices."},
    {"name": "storage", "description": "Files to send along: attachments and images."},
    {"name": "databases", "description": "Documents, as far as the client page of the contract has them."},
    {"name": "targets", "description": "People's addresses, one per channel and device."},
    {"name": "imports", "description": "Contact files: users, targets and subscriptions at once. Not in Appwrite."},
    {"name": "progress", "description": "How far a message is, and what became of each recipient. Not in Appwrite."},
    {"name": "health", "description": "Whether the service works."},
]

SECURITY_SCHEMES = {
    "Project": {"type": "apiKey", "in": "header", "name": "X-Appwrite-Project", "description": "The project's id"},
    "Key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Appwrite-Key",
        "description": f"An API key's secret. Scopes: {', '.join(SCOPES)}",
    },
    "Session": {"type": "apiKey", "in": "header", "name": "X-Appwrite-Session", "description": "A session's secret"},
    "JWT": {"type": "apiKey", "in": "header", "name": "X-Appwrite-JWT", "description": "A user's JWT"},
}


class Described(FastAPI):
    """The application with its description complete."""

    def openapi(self) -> dict[str, Any]:
        description = super().openapi()
        description["components"]["securitySchemes"] = SECURITY_SCHEMES
        return description
