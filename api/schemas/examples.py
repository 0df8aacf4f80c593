"""What fields look like in the description of the API, by their names on the wire: a name means the same everywhere."""

from collections.abc import Mapping
from typing import Any

_MOMENT = "2030-01-31T09:00:00.000+00:00"

EXAMPLES: Mapping[str, Any] = {
    # of everything
    "$id": "660c30bb6eaf4b15b26c",
    "$collectionId": "places",
    "$databaseId": "main",
    "$permissions": ['read("any")'],
    "$sequence": "1",
    "name": "News",
    "description": "What is new",
    "labels": ["beta"],
    "permissions": ['read("any")'],
    "queries": ['{"method": "limit", "values": [25]}'],
    "search": "news",
    "time": _MOMENT,
    "version": "0.1.0",
    # messages
    "action": "/orders/1729",
    "attachments": ["invoices:1729"],
    "badge": 1,
    "bcc": [],
    "body": "Your order 1729 is on its way.",
    "cc": [],
    "channelId": "orders",
    "color": "#1f6feb",
    "content": "Your order 1729 is on its way.",
    "cursor": "3e8",
    "data": {"orderId": "1729"},
    "deliveryErrors": [],
    "emails": [],
    "errors": [],
    "icon": "ic_parcel",
    "image": "pictures:parcel",
    "messageId": "order-1729",
    "reason": "550 mailbox unavailable",
    "scheduledAt": _MOMENT,
    "sound": "default",
    "subject": "Your order is on its way",
    "tag": "order-1729",
    "targets": [],
    "title": "On its way",
    "topics": ["news"],
    "users": [],
    # providers
    "accessKey": "AKIAEXAMPLE",
    "accountSid": "AC0123456789abcdef0123456789abcdef",
    "apiKey": "key-0123456789",
    "apiSecret": "secret-0123456789",
    "authKey": "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "authKeyId": "ABC123DEFG",
    "authToken": "token-0123456789",
    "bundleId": "com.example.app",
    "credentials": {"apiKey": "key-0123456789"},
    "customerId": "01234567-89AB-CDEF-0123-456789ABCDEF",
    "domain": "mail.example.com",
    "from": "+12065550100",
    "fromEmail": "news@example.com",
    "fromName": "Example",
    "host": "smtp.example.com",
    "mailer": "Tidings",
    "port": 587,
    "options": {"fromName": "Example", "fromEmail": "news@example.com", "replyToName": "", "replyToEmail": ""},
    "password": "correct horse battery",
    "provider": "sendgrid",
    "providerId": "mail",
    "region": "eu-central-1",
    "replyToEmail": "help@example.com",
    "replyToName": "Example",
    "secretKey": "secret-0123456789",
    "senderId": "EXAMPL",
    "serviceAccountJSON": {"type": "service_account", "project_id": "example"},
    "teamId": "DEF123GHIJ",
    "templateId": "0123456789abcdef01234567",
    "username": "mailer",
    # topics and subscribers
    "subscribe": ["users"],
    "subscriberId": "ada-news",
    "topicId": "news",
    # receipts and suppressions
    "address": "ada@example.com",
    "place": "1.q3VbQm0n2rV0m1S8Yp5kJtQe",
    "suppressions": [],
    "url": "https://tidings.example.com/v1/tidings/receipts/1.q3VbQm0n2rV0m1S8Yp5kJtQe",
    # people
    "accessedAt": "",
    "email": "ada@example.com",
    "emailCanonical": None,
    "factors": ["password"],
    "hash": "scrypt",
    "hashOptions": {"type": "scrypt"},
    "identifier": "ada@example.com",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VySWQiOiJhZGEifQ.c2lnbmF0dXJl",
    "mfaUpdatedAt": "",
    "passwordUpdate": "2026-01-05T10:00:00.000+00:00",
    "phone": "+12065550100",
    "prefs": {},
    "providerAccessToken": "",
    "providerAccessTokenExpiry": "",
    "providerRefreshToken": "",
    "providerUid": "ada@example.com",
    "secret": "",
    "sessionId": "recent",
    "targetId": "ada-mail",
    "userId": "ada",
    # logs and sessions: who it was
    "clientCode": "FF",
    "clientEngine": "Gecko",
    "clientEngineVersion": "140.0",
    "clientName": "Firefox",
    "clientType": "browser",
    "clientVersion": "140.0",
    "countryCode": "--",
    "countryName": "Unknown",
    "deviceBrand": "",
    "deviceModel": "",
    "deviceName": "desktop",
    "event": "message.create",
    "ip": "127.0.0.1",
    "mode": "default",
    "osCode": "LIN",
    "osName": "GNU/Linux",
    "osVersion": "",
    "userEmail": "ada@example.com",
    "userName": "Ada",
    "userType": "user",
    # storage
    "allowedFileExtensions": ["png", "jpg"],
    "bucketId": "pictures",
    "compression": "none",
    "fileId": "parcel",
    "folder": "",
    "key": "title",
    "mimeType": "image/png",
    "signature": "0cc175b9c0f1b6a831c399e269772661",
    # databases
    "archives": [],
    "attributes": [{"key": "title", "type": "string", "size": 128, "required": True}],
    "collectionId": "places",
    "databaseId": "main",
    "documentId": "paris",
    "indexes": [],
    "policies": [],
    # contact files
    "delimiter": ";",
    "fields": {"E-Mail": "email"},
    "fileName": "contacts.csv",
    "importId": "660c30bb6eaf4b15b26c",
    # errors
    "code": 404,
    "message": "There is no topic of this id.",
    "type": "topic_not_found",
}


def add_examples(described: dict[str, Any]) -> None:
    """To the JSON schemas of an object's properties, where there is neither an example nor a choice of values."""
    for name, schema in described.items():
        if name in EXAMPLES and _is_open(schema):
            schema["examples"] = [EXAMPLES[name]]


def _is_open(schema: dict[str, Any]) -> bool:
    """Whether it says less about its values than an example does."""
    alternatives = schema.get("anyOf", [schema])
    says_it_all = ("examples", "enum", "const", "$ref")
    return not any(key in one or one.get("type") == "boolean" for one in (schema, *alternatives) for key in says_it_all)
