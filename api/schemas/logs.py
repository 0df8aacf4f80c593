"""Audit logs on the wire (contract §12)."""

from pydantic import Field

from api.schemas.base import WireModel, WireMoment
from api.user_agents import read_user_agent
from shared.db.models import AuditEntry

_NOBODY = dict.fromkeys(("user_id", "user_email", "user_name", "ip", "user_agent"), "")


class LogModel(WireModel):
    """All texts; empty where nothing is known."""

    event: str = Field(examples=["message.create"])
    user_id: str
    user_email: str
    user_name: str
    mode: str
    user_type: str
    ip: str
    time: WireMoment
    os_code: str
    os_name: str
    os_version: str
    client_type: str
    client_code: str
    client_name: str
    client_version: str
    client_engine: str
    client_engine_version: str
    device_name: str
    device_brand: str
    device_model: str
    country_code: str
    country_name: str

    @classmethod
    def of(cls, entry: AuditEntry, *, reader_id: str | None = None) -> "LogModel":
        """`reader_id`: of a user, who is told when something happened, but of nobody else's doings who and whence."""
        if reader_id is not None and entry.user_id != reader_id:
            entry = AuditEntry(event=entry.event, created_at=entry.created_at, user_type=entry.user_type, **_NOBODY)
        return cls.model_validate(
            {
                **read_user_agent(entry.user_agent).as_fields(),
                "event": entry.event,
                "user_id": entry.user_id,
                "user_email": entry.user_email,
                "user_name": entry.user_name,
                "mode": "default",
                "user_type": entry.user_type,
                "ip": entry.ip,
                "time": entry.created_at,
                "country_code": "--",  # placing addresses needs lists that are not ours to keep
                "country_name": "Unknown",
            }
        )


class LogList(WireModel):
    total: int
    logs: list[LogModel]
