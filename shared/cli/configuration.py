"""Every setting there is, with the value in force: the printed reference of TIDINGS_*."""

from urllib.parse import urlsplit

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, is_readable_address, settings_beside
from shared.cli.output import AsJson, print_json, print_table
from shared.errors import ConfigurationError
from shared.settings import Settings

MASK = "********"


def show_configuration(*, data_dir: DataDir = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """List every setting with its value, default and meaning. Secrets are masked.

    With a wrong setting it lists the defaults, names the wrong one and exits with status 2.
    """
    try:
        settings = settings_beside(data_dir)
    except ConfigurationError:
        _print(dict.fromkeys(Settings.model_fields), as_json=as_json)
        raise
    _print({name: getattr(settings, name) for name in Settings.model_fields}, as_json=as_json)


def _print(values: dict[str, object], *, as_json: bool) -> None:
    rows = [
        {
            "name": f"TIDINGS_{name.upper()}",
            "value": _shown(values[name]),
            "default": _shown(_default(field)),
            "description": field.description or _meaning(name),
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ["VARIABLE", "VALUE", "DEFAULT", "MEANING"],
            [[_in_words(cell) for cell in row.values()] for row in rows],
        )


def _meaning(name: str) -> str:
    kind = name.removeprefix("endpoint_")
    return f"another server for all {kind} traffic" if kind != name else ""


def _default(field: FieldInfo) -> object:
    return None if field.default is PydanticUndefined else field.default


def _shown(value: object) -> object:
    """The value as JSON may hold it, secrets and the passwords of addresses masked."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, str) and "://" in value:
        return _without_password(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _without_password(url: str) -> str:
    if not is_readable_address(url):
        return MASK  # a password may be anywhere in it
    address = urlsplit(url)
    if address.password is None:
        return url
    user_and_password, _, host = address.netloc.rpartition("@")
    return address._replace(netloc=f"{user_and_password.partition(':')[0]}:{MASK}@{host}").geturl()


def _in_words(value: object) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
