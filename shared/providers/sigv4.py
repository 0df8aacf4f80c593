"""AWS Signature Version 4: headers that prove who sent a request, over its address, some headers and its body's hash.

Source: docs.aws.amazon.com IAM "Create a signed AWS API request", read 2026-11; the tests hold it to botocore's.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Signer:
    """Of one account, for one service in one region."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    service: str

    def sign(
        self, method: str, path: str, headers: Mapping[str, str], body_hash: str, *, now: datetime, query: str = ""
    ) -> dict[str, str]:
        """The headers to send: those given, which are signed (`host` among them), the date and the signature.

        Names in lower case; `path` and `query` quoted as they are sent, the query's fields in their order by name;
        `body_hash`: SHA-256 in hexadecimal; `now`: UTC.
        """
        date = now.strftime("%Y%m%dT%H%M%SZ")
        signed = dict(sorted({**headers, "x-amz-date": date}.items()))
        names = ";".join(signed)
        lines = (f"{name}:{' '.join(value.split())}\n" for name, value in signed.items())
        canonical = "\n".join((method, path, query, "".join(lines), names, body_hash))
        scope = f"{date[:8]}/{self.region}/{self.service}/aws4_request"
        text = "\n".join((ALGORITHM, date, scope, sha256(canonical.encode()).hexdigest()))
        signature = _hmac(self._key(date[:8]), text).hex()
        credential = f"Credential={self.access_key}/{scope}"
        return {
            **signed,
            "authorization": f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}",
        }

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.secret_key}".encode()
        for part in (day, self.region, self.service, "aws4_request"):
            key = _hmac(key, part)
        return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), sha256).digest()
