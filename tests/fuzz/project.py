"""A project with one of everything, and everybody who may call about it."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

from shared.domain.api_key import hash_secret
from tests.fuzz.judging import SCOPELESS, AnyCase
from tests.integration.api.conftest import Caller


@dataclass(frozen=True, slots=True)
class Project:
    address: str
    things: Mapping[str, str]  # key: path parameter
    people: Mapping[str, Mapping[str, str]]  # value: the headers that say who it is

    @classmethod
    def fill(cls, caller: Caller) -> "Project":
        things = _make_things(caller)
        return cls(caller.endpoint.removesuffix("/v1"), things, _make_people(caller))

    def name_things(self, case: AnyCase) -> None:
        """What is asked about exists, unless its id is the mistake, or the request would delete it."""
        meta = case.meta
        is_made_up = meta is not None and meta.phase.name is not TestPhase.STATEFUL and case.method != "DELETE"
        path = meta.components.get(ParameterLocation.PATH) if meta and is_made_up else None
        if path and path.mode is GenerationMode.POSITIVE:
            case.path_parameters |= {name: self.things.get(name, value) for name, value in case.path_parameters.items()}


def _make_things(caller: Caller) -> dict[str, str]:
    user = caller.create_user("ada", email="ada@example.com", password="long enough")
    target = user["targets"][0]["$id"]
    topic = caller.create_topic()["$id"]
    caller.create("/storage/buckets", {"bucketId": "pictures", "name": "Pictures"})
    caller("POST", "/storage/buckets/pictures/files", data={"fileId": "dot"}, files={"file": ("dot.txt", b".")})
    caller.create("/databases", {"databaseId": "main", "name": "Main"})
    attributes = [{"key": "title", "type": "string"}]
    caller.create("/databases/main/collections", {"collectionId": "books", "name": "Books", "attributes": attributes})
    imported = caller(
        "POST", "/tidings/imports", data=b"email\nbob@example.com\n", headers={"Content-Type": "text/csv"}
    )
    return {
        "userId": "ada",
        "targetId": target,
        "topicId": topic,
        "subscriberId": caller.subscribe(topic, target)["$id"],
        "messageId": caller.create_email(targets=[target], draft=True)["$id"],
        "providerId": caller.create("/messaging/providers/fcm", {"providerId": "unique()", "name": "FCM"})["$id"],
        "bucketId": "pictures",
        "fileId": "dot",
        "databaseId": "main",
        "collectionId": "books",
        "sessionId": caller.create("/users/ada/sessions", {})["$id"],
        "importId": imported.body["$id"],
    }


def _make_people(caller: Caller) -> dict[str, Mapping[str, str]]:
    project = {"X-Appwrite-Project": caller.project_id}
    session = caller.create("/users/ada/sessions", {})["secret"]
    jwt = caller.create("/users/ada/jwts", {"duration": 3600})["jwt"]
    scopeless = f"{SCOPELESS}{caller.project_id}"
    _add_key_without_scopes(caller, scopeless)
    return {
        "a key": {**project, "X-Appwrite-Key": caller.key},
        "a key without scopes": {**project, "X-Appwrite-Key": scopeless},
        "a session": {**project, "X-Appwrite-Session": session},
        "a JWT": {**project, "X-Appwrite-JWT": jwt},
        "nobody": project,
    }


def _add_key_without_scopes(caller: Caller, secret: str) -> None:
    with caller.factory.connect() as connection:
        connection.execute(
            "INSERT INTO api_keys (project_seq, id, name, secret_hash, scopes) VALUES (%s, 'none', 'None', %s, '{}')",
            [caller.factory.project_seq, hash_secret(secret)],
        )
