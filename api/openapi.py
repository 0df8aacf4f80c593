"""The served description of the API: FastAPI's, with the contract's security schemes."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from api.schemas.examples import add_examples
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
    {"name": "receipts", "description": "What providers say of messages afterwards. Not in Appwrite."},
    {"name": "suppressions", "description": "Addresses that must not be used again. Not in Appwrite."},
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
        if self.openapi_schema is None:
            self.openapi_schema = description = super().openapi()
            description["components"]["securitySchemes"] = SECURITY_SCHEMES
            _drop_validation_errors(description)
            _write_brackets(description)
            _allow_no_body(description)
            _share_refusals(description)
        return self.openapi_schema


def _operations(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in description["paths"].values():
        yield from methods.values()


def _drop_validation_errors(description: dict[str, Any]) -> None:
    """FastAPI's own, which the kernel never answers: the contract has no such status."""
    for operation in _operations(description):
        operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        description["components"]["schemas"].pop(name, None)


def _write_brackets(description: dict[str, Any]) -> None:
    """Lists and objects in a query string have brackets (contract §1.8); this is how OpenAPI says it."""
    for operation in _operations(description):
        for parameter in operation.get("parameters", ()):
            add_examples({parameter["name"]: parameter["schema"]})
            match parameter["schema"].get("type"):
                case "array":
                    parameter["name"] += "[]"
                case "object":
                    parameter |= {"style": "deepObject", "explode": True}


def _allow_no_body(description: dict[str, Any]) -> None:
    """A body of optional parameters may be left out: that is the same as `{}` (contract §1.4)."""
    schemas = description["components"]["schemas"]
    for operation in _operations(description):
        body = operation.get("requestBody", {"content": {}})
        schema = body["content"].get("application/json", {}).get("schema", {})
        if schema and "required" not in schemas[schema["$ref"].rpartition("/")[2]]:
            body["required"] = False


def _share_refusals(description: dict[str, Any]) -> None:
    """Most endpoints refuse alike: what several answer under a status is written once."""
    for status in ("400", "401", "403", "404", "413", "429", "5XX"):
        refusing = [
            operation["responses"] for operation in _operations(description) if status in operation["responses"]
        ]
        written, times = Counter(json.dumps(responses[status]) for responses in refusing).most_common(1)[0]
        if times > 1:
            shared = description["components"].setdefault("responses", {})
            shared[f"Refused{status}"] = json.loads(written)
            for responses in refusing:
                if json.dumps(responses[status]) == written:
                    responses[status] = {"$ref": f"#/components/responses/Refused{status}"}
