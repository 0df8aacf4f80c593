"""Objects in S3-compatible storage, each a chunk of a file: written once, read in ranges, removed by the scheduler."""

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from shared.errors import ConfigurationError, NotReachable
from shared.settings import Settings

if TYPE_CHECKING:  # they exist in the library's stubs alone
    from obstore.store import ClientConfig, S3Config, S3Credential

CONNECT_SECONDS: Final = 3
REQUEST_SECONDS: Final = 30
RETRIES: Final = 2

_CODE = re.compile(r"<Code>(\w+)</Code>")
"""S3's own word for an error, in the body of its answer."""


class ObjectStore:
    def __init__(self, store: S3Store) -> None:
        self._store = store

    async def put(self, key: str, content: bytes) -> None:
        """Raises NotReachable, and so do the others."""
        with _troubles():
            await obstore.put_async(self._store, key, content, use_multipart=False)

    async def read(self, key: str, first: int, length: int) -> bytes | None:
        """`length` bytes from `first` on. None: there is no such object."""
        with _troubles():
            try:
                return bytes(await obstore.get_range_async(self._store, key, start=first, length=length))
            except FileNotFoundError:
                return None

    async def delete(self, keys: Sequence[str]) -> None:
        """Those that exist."""
        with _troubles():
            await obstore.delete_async(self._store, keys)

    async def probe(self) -> None:
        """Write, read and delete an object: every right that is needed."""
        key = new_object_key()
        await self.put(key, b"tidings")
        if await self.read(key, 0, 7) != b"tidings":
            raise NotReachable("The file storage does not keep what is written to it.")
        await self.delete([key])


def new_object_key() -> str:
    """Never used before, so that an object is never written twice, not even by two installations in one bucket."""
    return secrets.token_hex(16)


def open_object_store(settings: Settings) -> ObjectStore | None:
    """None: files are kept in Postgres. Connects to nothing yet. Raises ConfigurationError.

    The library also reads AWS_* variables. What the settings say goes before them; only where they name no key does it
    look for one there, and with the machine's role.
    """
    if settings.files_url is None:
        return None
    address = urlsplit(settings.files_url)
    if address.scheme != "s3" or not address.hostname:
        raise ConfigurationError("TIDINGS_FILES_URL names no bucket.", hint="It looks like s3://bucket/prefix.")
    config: S3Config = {
        "region": settings.files_region,
        "skip_signature": False,
        "virtual_hosted_style_request": False,
        "disable_bulk_delete": True,  # not every server has that request
    }
    client: ClientConfig = {"connect_timeout": f"{CONNECT_SECONDS}s", "timeout": f"{REQUEST_SECONDS}s"}
    if settings.files_endpoint:
        if not urlsplit(settings.files_endpoint).netloc:
            raise ConfigurationError(
                "TIDINGS_FILES_ENDPOINT is no address.", hint="It looks like https://storage.example.com."
            )
        config |= {"aws_endpoint_url_s3": settings.files_endpoint}
        client["allow_http"] = settings.files_endpoint.startswith("http://")
    if settings.ca_file:
        client["root_certificate"] = settings.ca_file.read_bytes()
    credential = _credential(settings)
    return ObjectStore(
        S3Store(
            address.hostname,
            prefix=address.path.strip("/") or None,
            config=config,
            client_options=client,
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=REQUEST_SECONDS)},
            credential_provider=(lambda: credential) if credential else None,
        )
    )


def _credential(settings: Settings) -> "S3Credential | None":
    access_key, secret_key = settings.files_access_key, settings.files_secret_key
    if (access_key is None) != (secret_key is None):
        raise ConfigurationError("Set TIDINGS_FILES_ACCESS_KEY and TIDINGS_FILES_SECRET_KEY, or neither.")
    if access_key is None or secret_key is None:
        return None
    return {
        "access_key_id": access_key.get_secret_value(),
        "secret_access_key": secret_key.get_secret_value(),
        "expires_at": None,
    }


@contextmanager
def _troubles() -> Iterator[None]:
    """The library's errors are long and quote answers in full: what leaves here names the trouble alone."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:  # the latter where the bucket is missing
        code = _CODE.search(str(error))
        reason = code[1] if code else str(error).partition("\n")[0].rpartition(" - ")[2]
        raise NotReachable(
            f"The file storage does not do what it is asked: {reason}.",
            hint="Check TIDINGS_FILES_URL, TIDINGS_FILES_ENDPOINT and the keys; `tidings doctor` tries them.",
        ) from None
