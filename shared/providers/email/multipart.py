"""Forms with files, as browsers post them (RFC 7578); a part at a time, so that what calls share is written once."""

import re
import secrets
from typing import Final

from shared.providers.contract import ContentFile

NOT_IN_A_NAME: Final = re.compile(r'["\r\n]')


class Form:
    """Parts with a delimiter of their own, which nobody who wrote a field can know."""

    def __init__(self) -> None:
        self.boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={self.boundary}"
        self.end = f"--{self.boundary}--\r\n".encode()

    def field(self, name: str, value: str) -> bytes:
        return self._head(f'name="{name}"') + value.encode() + b"\r\n"

    def file(self, name: str, file: ContentFile) -> bytes:
        shown = NOT_IN_A_NAME.sub(lambda found: f"%{ord(found[0]):02X}", file.name)
        disposition = f'name="{name}"; filename="{shown}"\r\nContent-Type: {file.mime_type}'
        return self._head(disposition) + file.content + b"\r\n"

    def _head(self, disposition: str) -> bytes:
        return f"--{self.boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
