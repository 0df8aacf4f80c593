"""Contract §8.3 and §8.4: a request with several faults is refused for the one that the contract looks at first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import pytest

from tests.integration.api.conftest import Caller
from tests.integration.api.test_storage import create_bucket, upload


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    body: dict[str, object]
    refusal: tuple[int, str]


MISSING = (400, "message_missing_target")
NO_BUCKET, NO_FILE = (404, "storage_bucket_not_found"), (404, "storage_file_not_found")
TAKEN = Fault("taken id", {"messageId": "taken"}, (409, "message_already_exists"))

EMAIL = [
    Fault("no subject", {"subject": ""}, (400, "general_argument_invalid")),
    Fault("no recipients", {"targets": []}, MISSING),
    Fault("unknown cc", {"cc": ["none"]}, (400, "message_target_not_email")),
    Fault("unknown address", {"emails": ["none@example.com"]}, (400, "message_target_not_email")),
    Fault("push target in bcc", {"bcc": ["device"]}, (400, "message_target_not_email")),
    Fault("unknown bucket", {"attachments": ["none:note"]}, NO_BUCKET),
    Fault("unknown file", {"attachments": ["photos:none"]}, NO_FILE),
    TAKEN,
]
PUSH = [
    Fault("bad priority", {"priority": "highest"}, (400, "general_argument_invalid")),
    Fault("no recipients", {"targets": []}, MISSING),
    Fault("e-mail target", {"targets": ["mail"]}, (400, "message_target_not_push")),
    Fault("unknown bucket", {"image": "none:note"}, NO_BUCKET),
    Fault("unknown file", {"image": "photos:none"}, NO_FILE),
    Fault("no image", {"image": "photos:note"}, (400, "storage_file_type_unsupported")),
    TAKEN,
]
UPDATE = [
    Fault("no subject", {"subject": ""}, (400, "general_argument_invalid")),
    Fault("no recipients", {"targets": [], "draft": False}, MISSING),
    Fault("unknown address", {"emails": ["none@example.com"]}, (400, "message_target_not_email")),
    Fault("unknown file", {"attachments": ["photos:none"]}, NO_FILE),
]


def pairs(faults: Sequence[Fault]) -> Iterator[object]:
    """Each two that one request can have, the earlier one first."""
    for first, second in combinations(faults, 2):
        # an address makes up for recipients that are missing
        is_recipient = first.refusal == MISSING and "emails" in second.body
        if first.body.keys().isdisjoint(second.body) and not is_recipient:
            yield pytest.param(first, second, id=f"{first.name} before {second.name}")


@pytest.fixture
def desk(caller: Caller) -> Caller:
    """A project with a target of each kind, a text file, and a message called `taken`."""
    create_bucket(caller)
    upload(caller, "note", b"hello", "note.txt")
    caller.create_user("ada")
    caller.create_target("ada", "ada@example.com", targetId="mail", providerType="email")
    caller.create_target("ada", "token", targetId="device")
    caller.create_email("taken", draft=True, targets=["mail"])
    return caller


@pytest.mark.parametrize(("first", "second"), [*pairs(EMAIL)])
def test_a_new_email(desk: Caller, first: Fault, second: Fault) -> None:
    body = {"messageId": "new", "subject": "Hello", "content": "Hello", "targets": ["mail"]}
    answer = desk.post("/messaging/messages/email", body | second.body | first.body)
    assert answer.refusal == first.refusal
    assert desk.get("/messaging/messages").body["total"] == 1, "nothing is left behind"


@pytest.mark.parametrize(("first", "second"), [*pairs(PUSH)])
def test_a_new_push_message(desk: Caller, first: Fault, second: Fault) -> None:
    body = {"messageId": "new", "title": "Hello", "targets": ["device"]}
    answer = desk.post("/messaging/messages/push", body | second.body | first.body)
    assert answer.refusal == first.refusal
    assert desk.get("/messaging/messages").body["total"] == 1, "nothing is left behind"


@pytest.mark.parametrize(("first", "second"), [*pairs(UPDATE)])
def test_a_changed_draft(desk: Caller, first: Fault, second: Fault) -> None:
    answer = desk.patch("/messaging/messages/email/taken", second.body | first.body)
    assert answer.refusal == first.refusal


@pytest.mark.parametrize("fault", UPDATE[2:], ids=lambda fault: fault.name)
def test_a_message_that_is_closed_or_unknown_is_no_longer_looked_at(desk: Caller, fault: Fault) -> None:
    desk.rows("UPDATE messages SET status = 'sent' WHERE project_seq = %(project)s RETURNING id")
    assert desk.patch("/messaging/messages/email/taken", fault.body).type == "message_already_sent"
    assert desk.patch("/messaging/messages/email/none", fault.body).type == "message_not_found"
