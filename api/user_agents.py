"""What a user agent says of itself, in the fields that sessions and logs show (contract §12)."""

import re
from dataclasses import dataclass, fields

# first match wins, so what names others in its own text stands before them
_SYSTEMS = (
    ("iOS", "IOS", re.compile(r"(?:iPhone|CPU|iPad).* OS (\d+(?:[._]\d+)*)")),
    ("Android", "AND", re.compile(r"Android (\d+(?:\.\d+)*)")),
    ("Windows", "WIN", re.compile(r"Windows NT (\d+\.\d+)")),
    ("Mac", "MAC", re.compile(r"Mac OS X (\d+(?:[._]\d+)*)")),
    ("GNU/Linux", "LIN", re.compile(r"Linux()")),
)
_CLIENTS = (
    ("Microsoft Edge", "PS", "Blink", re.compile(r"Edg/([\d.]+)")),
    ("Opera", "OP", "Blink", re.compile(r"OPR/([\d.]+)")),
    ("Firefox", "FF", "Gecko", re.compile(r"Firefox/([\d.]+)")),
    ("Chrome", "CH", "Blink", re.compile(r"Chrome/([\d.]+)")),
    ("Safari", "SF", "WebKit", re.compile(r"Version/([\d.]+).*Safari/")),
)
_ENGINE_VERSION = {
    "Blink": re.compile(r"Chrome/([\d.]+)"),
    "Gecko": re.compile(r"rv:([\d.]+)"),
    "WebKit": re.compile(r"AppleWebKit/([\d.]+)"),
}
_APPLE = re.compile(r"\b(iPhone|iPad)\b")
_ANDROID_MODEL = re.compile(r"Android [^;)]*; (?:[a-z]{2}-[a-zA-Z]{2}; )?([^;)]+?)(?: Build/[^;)]*)?[;)]")
_BRANDS = {"SM-": "Samsung", "Pixel": "Google", "Redmi": "Xiaomi", "Mi ": "Xiaomi", "ONEPLUS": "OnePlus"}


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


def read_user_agent(text: str) -> Device:
    return Device(**_system(text), **_client(text), **_device(text))


def _system(text: str) -> dict[str, str]:
    for name, code, pattern in _SYSTEMS:
        if match := pattern.search(text):
            return {"os_name": name, "os_code": code, "os_version": match[1].replace("_", ".")}
    return {}


def _client(text: str) -> dict[str, str]:
    for name, code, engine, pattern in _CLIENTS:
        if match := pattern.search(text):
            version = _ENGINE_VERSION[engine].search(text)
            return {
                "client_type": "browser",
                "client_name": name,
                "client_code": code,
                "client_version": match[1],
                "client_engine": engine,
                "client_engine_version": version[1] if version else "",
            }
    return {}


def _device(text: str) -> dict[str, str]:
    if match := _APPLE.search(text):
        name = "smartphone" if match[1] == "iPhone" else "tablet"
        return {"device_name": name, "device_brand": "Apple", "device_model": match[1]}
    if match := _ANDROID_MODEL.search(text):
        brand = next((brand for prefix, brand in _BRANDS.items() if match[1].startswith(prefix)), "")
        return {"device_name": "smartphone", "device_brand": brand, "device_model": match[1]}
    return {"device_name": "desktop"} if re.search(r"Windows|Macintosh|X11", text) else {}
