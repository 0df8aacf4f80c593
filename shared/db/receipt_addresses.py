"""Where providers post their receipts: an address per provider row, with a proof in it that we made it.

The proof is what guards providers that sign nothing; it is made of the secret keys, so no table holds it.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence

from shared.db.secrets import SecretKey

PATH = "/v1/tidings/receipts"


class ReceiptAddresses:
    def __init__(self, keys: Sequence[SecretKey], public_url: str | None) -> None:
        """`keys`: newest first. `public_url`: how providers reach the API; None: they cannot."""
        self._keys = [key.key for key in keys]
        self._origin = (public_url or "").rstrip("/").removesuffix("/v1")

    def url_of(self, provider_seq: int) -> str:
        """Empty where the installation has no public address."""
        return f"{self._origin}{PATH}/{self.place_of(provider_seq)}" if self._origin else ""

    def place_of(self, provider_seq: int) -> str:
        """The last part of the address."""
        return f"{provider_seq:x}.{_proof(self._keys[0], provider_seq)}"

    def provider_of(self, place: str) -> int | None:
        """The provider's seq; None: no address of ours. Addresses made with an older key hold as long as the key."""
        number, _, proof = place.partition(".")
        if not number.isalnum() or not number.isascii() or len(number) > 15:
            return None
        try:
            provider_seq = int(number, 16)
        except ValueError:
            return None
        proofs = (_proof(key, provider_seq).encode() for key in self._keys)
        return provider_seq if any(hmac.compare_digest(proof.encode(), known) for known in proofs) else None


def _proof(key: bytes, provider_seq: int) -> str:
    digest = hmac.digest(key, f"receipts\n{provider_seq}".encode(), "sha256")
    return urlsafe_b64encode(digest[:18]).decode()
