"""Where a peer's worker and publisher find their servers."""

from functools import lru_cache
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class PeerSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PEER_", frozen=True)

    broker_url: str
    database_url: str
    fcm_url: str  # of the project's `messages:send`
    smtp_port: int
    ca_file: Path


@lru_cache(maxsize=1)
def peer_settings() -> PeerSettings:
    return PeerSettings()
