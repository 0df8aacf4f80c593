"""The served description of the API as it is checked in.

`python -m tests.openapi_document` writes it anew; with `--check` it only tells what has changed.
"""

import base64
import difflib
import json
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from api.app import create_app
from shared.settings import Settings

CHECKED_IN = Path(__file__).parents[1] / "api" / "openapi.json"

REMEDY = "api/openapi.json is not what is served: look at the change, then run python -m tests.openapi_document\n"


def served_document() -> dict[str, Any]:
    """What /openapi.json answers. Nothing is connected to for it."""
    key = base64.b64encode(bytes(32)).decode()
    settings = Settings(
        database_url="postgresql://127.0.0.1/none", broker_url="redis://127.0.0.1", secret_keys=SecretStr(f"none:{key}")
    )
    return create_app(settings).openapi()


def written(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def changes() -> list[str]:
    """Between the two, as a diff; none: they are the same."""
    checked_in, served = CHECKED_IN.read_text(), written(served_document())
    if checked_in == served:
        return []
    old, new = checked_in.splitlines(keepends=True), served.splitlines(keepends=True)
    return list(difflib.unified_diff(old, new, "checked in", "served"))


def main(arguments: list[str]) -> int:
    if arguments != ["--check"]:
        CHECKED_IN.write_text(written(served_document()))
        return 0
    if found := changes():
        sys.stderr.writelines([*found, REMEDY])
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
