"""Who is behind a call, as the audit log keeps it (contract §12)."""

from typing import assert_never

from api.kernel import Call
from api.principals import Guest, KeyHolder, LoggedIn
from shared.db.queries.audit import Actor


def actor_of(call: Call) -> Actor:
    principal = call.principal
    key_seq = user_seq = None
    service_email = ""
    match principal:
        case KeyHolder():
            actor_type, key_seq = "keyProject", principal.key_seq
            host = call.headers.get("host", "").partition(":")[0]
            service_email = f"app.{call.project.id}@service.{host}"
        case LoggedIn():
            actor_type, user_seq = "user", principal.user.seq
        case Guest():
            actor_type = "guest"
        case _:
            assert_never(principal)
    return Actor(
        actor_type=actor_type,
        key_seq=key_seq,
        user_seq=user_seq,
        service_email=service_email,
        ip=call.client.host if call.client else "",
        user_agent=call.user_agent,
    )
