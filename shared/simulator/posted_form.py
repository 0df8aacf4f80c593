"""A receipt in each of the forms that providers let their customers choose."""

import json
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlencode

from shared.simulator.outgoing import OutgoingCall

PostedForm = Literal["form", "multipart", "json"]

_BOUNDARY = "simulated-boundary"


def posted(url: str, fields: Mapping[str, str], form: PostedForm) -> OutgoingCall:
    match form:
        case "form":
            return _call(url, "application/x-www-form-urlencoded", urlencode(fields))
        case "json":
            return _call(url, "application/json", json.dumps(fields))
        case "multipart":
            parts = (
                f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                for name, value in fields.items()
            )
            return _call(url, f"multipart/form-data; boundary={_BOUNDARY}", f"{''.join(parts)}--{_BOUNDARY}--\r\n")


def _call(url: str, content_type: str, body: str) -> OutgoingCall:
    return OutgoingCall(url, (("content-type", content_type),), body.encode())
