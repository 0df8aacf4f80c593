"""Encryption of what is kept at rest: AES-256-GCM, rotating keys, bound to the row it stands in."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import ConfigurationError
from shared.settings import Settings

NONCE_BYTES = 12
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class SecretKey:
    id: str
    key: bytes = field(repr=False)


class SecretBox:
    """Encrypts with the newest key, decrypts with whichever key the text names."""

    def __init__(self, keys: Sequence[SecretKey]) -> None:
        """`keys`: newest first, at least one."""
        self._newest = keys[0]
        self._ciphers = {key.id: AESGCM(key.key) for key in keys}

    def encrypt(self, plaintext: str, *, context: str) -> str:
        """`KEYID.BASE64`; `context` (project, table, row) must be given again to decrypt, so rows cannot be swapped."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[self._newest.id].encrypt(nonce, plaintext.encode(), context.encode())
        return f"{self._newest.id}.{base64.b64encode(nonce + sealed).decode()}"

    def decrypt(self, text: str, *, context: str) -> str:
        """Raises ConfigurationError when the key is missing or the text belongs to another row."""
        key_id, _, body = text.partition(".")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise ConfigurationError(
                f"A stored secret was encrypted with key {key_id!r}, which this process does not have.",
                hint="Add the old key to TIDINGS_SECRET_KEYS (newest first) or to the secret key file.",
            )
        try:
            raw = base64.b64decode(body)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:  # the latter: cut short, or no BASE64 any more
            raise ConfigurationError(
                f"A stored secret cannot be decrypted with key {key_id!r}.",
                hint="The key under this id is not the one it was encrypted with, or the row was tampered with.",
            ) from error

    @property
    def newest_key_id(self) -> str:
        """What a text encrypted now begins with, before its dot."""
        return self._newest.id


def new_secret_key() -> str:
    """A line for the key file: ID:BASE64."""
    return f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def parse_secret_keys(text: str) -> list[SecretKey]:
    """Keys out of `ID:BASE64` entries, separated by commas or line ends, newest first."""
    keys: dict[str, SecretKey] = {}
    for entry in text.replace(",", "\n").split():
        key_id, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not key_id or "." in key_id or len(key) != KEY_BYTES:
            raise ConfigurationError(
                f"The secret key {key_id!r} is not ID:BASE64 of {KEY_BYTES} bytes.",
                hint="Make one with `tidings key secret`.",
            )
        if key_id in keys:
            raise ConfigurationError(
                f"There are two secret keys under the id {key_id!r}.",
                hint="Stored secrets name their key by its id, so each needs its own. `tidings key secret` makes one.",
            )
        keys[key_id] = SecretKey(key_id, key)
    return list(keys.values())


def open_secret_box(settings: Settings) -> SecretBox:
    """The box for this process's settings. Raises ConfigurationError when no key is configured."""
    return SecretBox(read_secret_keys(settings))


def read_secret_keys(settings: Settings) -> list[SecretKey]:
    """The configured keys, newest first. Raises ConfigurationError when there is none."""
    text = ""
    if settings.secret_keys:
        text = settings.secret_keys.get_secret_value()
    elif settings.secret_key_file:
        try:
            text = settings.secret_key_file.read_text()
        except OSError as error:
            raise ConfigurationError(
                f"The secret key file cannot be read: {error.strerror}.",
                hint="TIDINGS_SECRET_KEY_FILE must name a file this user can read.",
            ) from error
    keys = parse_secret_keys(text)
    if not keys:
        raise ConfigurationError(
            "No secret key is configured, so provider credentials cannot be encrypted.",
            hint="Set TIDINGS_SECRET_KEYS or TIDINGS_SECRET_KEY_FILE; `tidings key secret` makes one.",
        )
    return keys
