"""Amazon SNS as it posts to HTTPS endpoints: signed envelopes, the certificate to check them with, confirmations."""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from shared.simulator.outgoing import OutgoingCall

TOPIC = "arn:aws:sns:eu-central-1:123456789012:mail"

_SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
"""In this order, those that there are."""


class Sns:
    """One topic, with a key that lives as long as the process."""

    def __init__(self) -> None:
        self.origin = ""  # where customers reach us: "https://host:port"
        self.confirmed: list[str] = []  # tokens of subscriptions that were confirmed

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, 2048)

    @cached_property
    def certificate(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.simulator.invalid")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=30))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @property
    def certificate_path(self) -> str:
        return f"/SimpleNotificationService-{sha256(self.certificate).hexdigest()[:32]}.pem"

    def notification(self, url: str, message: str) -> OutgoingCall:
        return self._post(url, {"Type": "Notification", "Message": message})

    def confirmation(self, url: str) -> OutgoingCall:
        """What comes first: whoever gets it shall visit SubscribeURL."""
        token = uuid.uuid4().hex
        visit = f"{self.origin}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={token}"
        text = "Visit the SubscribeURL to confirm the subscription."
        fields = {"Type": "SubscriptionConfirmation", "Message": text, "Token": token, "SubscribeURL": visit}
        return self._post(url, fields)

    def _post(self, url: str, fields: dict[str, str]) -> OutgoingCall:
        timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        envelope = {**fields, "MessageId": str(uuid.uuid4()), "TopicArn": TOPIC, "Timestamp": timestamp}
        text = "".join(f"{name}\n{envelope[name]}\n" for name in _SIGNED if name in envelope)
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        envelope |= {
            "SignatureVersion": "2",
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": f"{self.origin}{self.certificate_path}",
        }
        headers = (("content-type", "text/plain; charset=UTF-8"), ("x-amz-sns-message-type", fields["Type"]))
        return OutgoingCall(url, headers, json.dumps(envelope).encode())
