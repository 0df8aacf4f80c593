"""The served description of the API as it is checked in; `python -m tests.openapi_document` writes it anew."""

import base64
import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from api.app import create_app
from shared.settings import Settings

CHECKED_IN = Path(__file__).parents[1] / "api" / "openapi.json"


def served_document() -> dict[str, Any]:
    """What /openapi.json answers. Nothing is connected to for it."""
    key = base64.b64encode(bytes(32)).decode()
    settings = Settings(
        database_url="postgresql://127.0.0.1/none", broker_url="redis://127.0.0.1", secret_keys=SecretStr(f"none:{key}")
    )
    return create_app(settings).openapi()


def written(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    CHECKED_IN.write_text(written(served_document()))
