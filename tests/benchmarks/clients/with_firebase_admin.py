"""FCM by firebase-admin: `send_each_async`, one call after the other, over HTTP/2."""

import os
import warnings
from collections.abc import Sequence

import firebase_admin
from firebase_admin import credentials, messaging

from tests.benchmarks.clients.orders import Terms, run_client
from tests.benchmarks.clients.outcomes import SENT, Row
from tests.benchmarks.peers.content import BODY, SUBJECT


class Client:
    calls = 1  # two of 500 and four of 100 cost more CPU a message

    def __init__(self, terms: Terms) -> None:
        # its two HTTP libraries have no setting for authorities, and where it sends to is a constant of its own
        os.environ |= {"REQUESTS_CA_BUNDLE": terms.ca_file, "SSL_CERT_FILE": terms.ca_file}
        messaging._MessagingService.FCM_URL = terms.origin + "/v1/projects/{0}/messages:send"
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # it wants `fid` instead of `token`
        self.group = terms.in_flight
        self._addresses = terms.addresses
        self._app = firebase_admin.initialize_app(credentials.Certificate(terms.account["serviceAccountJSON"]))

    async def send(self, recipients: Sequence[int]) -> list[Row]:
        shown = messaging.Notification(title=SUBJECT, body=BODY)
        messages = [
            messaging.Message(token=self._addresses.address(recipient), notification=shown) for recipient in recipients
        ]
        answers = (await messaging.send_each_async(messages, app=self._app)).responses
        return [
            Row(recipient, SENT, answer.message_id) if answer.success else Row(recipient, str(answer.exception))
            for recipient, answer in zip(recipients, answers, strict=True)
        ]


async def make(terms: Terms) -> Client:
    return Client(terms)


if __name__ == "__main__":
    run_client(make)
