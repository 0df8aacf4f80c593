"""Forms as clients post them: urlencoded, or in parts with files."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from shared.simulator.wire.exchange import Request

_BOUNDARY = re.compile(r'multipart/form-data; *boundary="?([^"\r\n]+?)"?', re.IGNORECASE)
_NAME = re.compile(r'[; ]name="([^"\r\n]*)"')
_FILE_NAME = re.compile(r'[; ]filename="([^"\r\n]*)"')
_CONTENT_TYPE = re.compile(r"^content-type: *(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class File:
    field: str
    name: str | None
    content_type: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Form:
    fields: dict[str, list[str]] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)

    def first(self, name: str) -> str:
        """Empty where there is none."""
        return self.fields.get(name, [""])[0]

    def add(self, name: str, value: str) -> None:
        self.fields.setdefault(name, []).append(value)


def read_form(request: Request) -> Form | None:
    """None: it is neither."""
    content_type = request.header(b"content-type")
    if content_type.startswith("application/x-www-form-urlencoded"):
        form = Form()
        for name, value in parse_qsl(request.body.decode("latin-1"), keep_blank_values=True):
            form.add(name, value)
        return form
    boundary = _BOUNDARY.fullmatch(content_type)
    if boundary is None:
        return None
    form = Form()
    for part in (b"\r\n" + request.body).split(b"\r\n--" + boundary[1].encode("latin-1"))[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        _add(form, head.decode("utf-8", "replace"), content)
    return form


def _add(form: Form, head: str, content: bytes) -> None:
    name, file_name, content_type = (pattern.search(head) for pattern in (_NAME, _FILE_NAME, _CONTENT_TYPE))
    if name is None:
        return
    if file_name or content_type:
        shown, kind = file_name and file_name[1], content_type[1] if content_type else "text/plain"
        form.files.append(File(name[1], shown, kind, len(content)))
    else:
        form.add(name[1], content.decode("utf-8", "replace"))
