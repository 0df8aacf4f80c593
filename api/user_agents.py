"""What a user agent says of itself, in the fields that sessions and logs show (contract §12).

Read by ua-parser over Rust's regular expressions, which take time in proportion to the text whatever it says: anybody
may send one, and a page of logs has thousands. The names and codes are Matomo's, as the contract's clients know them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Final

import ua_parser
from ua_parser.loaders import load_builtins
from ua_parser.regex import Resolver

LONGEST: Final = 512
"""Characters that are kept and read. Browsers send a fourth of it; older rows hold longer ones."""

_NAMED: Final = 1_000
"""Different agents whose reading is remembered: a project's devices are of some hundred kinds."""


@dataclass(frozen=True, slots=True)
class _Browser:
    name: str
    code: str
    engine: str


# ua-parser's family -> ours; others are no browsers, or none that we have a code for
_BROWSERS: Final[Mapping[str, _Browser]] = {
    "Chrome": _Browser("Chrome", "CH", "Blink"),
    "Chrome Mobile": _Browser("Chrome Mobile", "CM", "Blink"),
    "Chrome Mobile WebView": _Browser("Chrome Webview", "CV", "Blink"),
    "Chrome Mobile iOS": _Browser("Chrome Mobile iOS", "CI", "WebKit"),
    "Edge": _Browser("Microsoft Edge", "PS", "Blink"),
    "Edge Mobile": _Browser("Microsoft Edge", "PS", "Blink"),
    "Firefox": _Browser("Firefox", "FF", "Gecko"),
    "Firefox Mobile": _Browser("Firefox Mobile", "FM", "Gecko"),
    "Firefox iOS": _Browser("Firefox Mobile iOS", "F1", "WebKit"),
    "Mobile Safari": _Browser("Mobile Safari", "MF", "WebKit"),
    "Mobile Safari UI/WKWebView": _Browser("Mobile Safari", "MF", "WebKit"),
    "Opera": _Browser("Opera", "OP", "Blink"),
    "Opera Mobile": _Browser("Opera Mobile", "OM", "Blink"),
    "Safari": _Browser("Safari", "SF", "WebKit"),
    "Samsung Internet": _Browser("Samsung Browser", "SB", "Blink"),
}

# ua-parser's family -> name, code, and what runs it unless the device says more
_SYSTEMS: Final[Mapping[str, tuple[str, str, str]]] = {
    "Android": ("Android", "AND", "smartphone"),
    "Chrome OS": ("Chrome OS", "COS", "desktop"),
    "Linux": ("GNU/Linux", "LIN", "desktop"),
    "Mac OS X": ("Mac", "MAC", "desktop"),
    "Ubuntu": ("Ubuntu", "UBT", "desktop"),
    "Windows": ("Windows", "WIN", "desktop"),
    "iOS": ("iOS", "IOS", "smartphone"),
}

_TABLETS: Final = ("iPad", "SM-T", "SM-X", "Tablet")

_ENGINE_VERSION: Final = {
    "Blink": re.compile(r"Chrome/([0-9.]+)"),
    "Gecko": re.compile(r"rv:([0-9.]+)"),
    "WebKit": re.compile(r"AppleWebKit/([0-9.]+)"),
}


@dataclass(frozen=True, slots=True)
class Device:
    """Every field is empty where the user agent says nothing we know."""

    os_code: str = ""
    os_name: str = ""
    os_version: str = ""
    client_type: str = ""
    client_code: str = ""
    client_name: str = ""
    client_version: str = ""
    client_engine: str = ""
    client_engine_version: str = ""
    device_name: str = ""
    device_brand: str = ""
    device_model: str = ""

    def as_fields(self) -> dict[str, str]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def label(self) -> str:
        """Brand and model, as a device's target is named."""
        return f"{self.device_brand} {self.device_model}".strip()


_PARSER: Final = ua_parser.Parser(Resolver(load_builtins()))


def shorten(user_agent: str) -> str:
    """What of a User-Agent header is stored and read."""
    return user_agent[:LONGEST].replace("\0", "")


def read_user_agent(text: str) -> Device:
    return _read(shorten(text))


@lru_cache(_NAMED)
def _read(text: str) -> Device:
    found = _PARSER.parse(text)
    return Device(**_system(found.os), **_client(found.user_agent, text), **_device(found.device, found.os))


def _system(system: ua_parser.OS | None) -> dict[str, str]:
    if system is None or system.family not in _SYSTEMS:
        return {}
    name, code, _runs_on = _SYSTEMS[system.family]
    version = _version(system.major, system.minor, system.patch, system.patch_minor)
    return {"os_name": name, "os_code": code, "os_version": version}


def _client(client: ua_parser.UserAgent | None, text: str) -> dict[str, str]:
    if client is None or client.family not in _BROWSERS:
        return {}
    browser = _BROWSERS[client.family]
    engine_version = _ENGINE_VERSION[browser.engine].search(text)
    return {
        "client_type": "browser",
        "client_name": browser.name,
        "client_code": browser.code,
        "client_version": _version(client.major, client.minor, client.patch, client.patch_minor),
        "client_engine": browser.engine,
        "client_engine_version": engine_version[1] if engine_version else "",
    }


def _device(device: ua_parser.Device | None, system: ua_parser.OS | None) -> dict[str, str]:
    runs_on = _SYSTEMS[system.family][2] if system and system.family in _SYSTEMS else ""
    if device is None or device.brand is None or device.brand.startswith("Generic"):
        return {"device_name": runs_on}
    model = device.model or ""
    is_tablet = runs_on == "smartphone" and any(sign in model for sign in _TABLETS)
    return {
        "device_name": "tablet" if is_tablet else runs_on,
        "device_brand": device.brand,
        "device_model": model,
    }


def _version(*parts: str | None) -> str:
    return ".".join(part for part in parts if part)
