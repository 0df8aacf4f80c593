"""How to send the first message: the same three calls with curl and with the SDK."""

from shared.cli.connection import Connection


def with_curl(connection: Connection) -> str:
    return f"""\
tidings() {{
  curl -sS {connection.endpoint}/"$1" -H 'X-Appwrite-Project: {connection.project}' \\
    -H 'X-Appwrite-Key: {connection.key}' \\
    -H 'Content-Type: application/json' -d "$2"; echo
}}
tidings messaging/providers/smtp '{{"providerId":"unique()","name":"Mail","host":"smtp.example.com",
  "fromEmail":"hello@example.com","enabled":true}}'
tidings users '{{"userId":"ada","email":"ada@example.org"}}'
tidings messaging/messages/email '{{"messageId":"unique()","subject":"Hello","content":"It works.","users":["ada"]}}'
"""


def with_sdk(connection: Connection) -> str:
    return f"""\
from appwrite.client import Client
from appwrite.services.messaging import Messaging
from appwrite.services.users import Users

client = Client().set_endpoint("{connection.endpoint}").set_project("{connection.project}")
client.set_key("{connection.key}")
messaging = Messaging(client)
messaging.create_smtp_provider("unique()", "Mail", "smtp.example.com", from_email="hello@example.com", enabled=True)
Users(client).create("bob", email="bob@example.org")
messaging.create_email("unique()", "Hello", "It works.", users=["bob"])
"""
