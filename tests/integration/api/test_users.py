"""Contract §14: users and their targets."""

import base64
import hashlib

import pytest

from tests.integration.api.conftest import Caller


def test_the_model_of_a_user(caller: Caller) -> None:
    user = caller.create_user("ada", email="Ada@Example.com", name="Ada")
    (target,) = user.pop("targets")
    for moment in ("$createdAt", "$updatedAt", "registration"):
        assert user.pop(moment).endswith("+00:00")
    assert user == {
        "$id": "ada",
        "name": "Ada",
        "password": None,
        "hash": None,
        "hashOptions": None,
        "status": True,
        "labels": [],
        "passwordUpdate": "",
        "email": "ada@example.com",
        "phone": "",
        "emailVerification": False,
        "phoneVerification": False,
        "mfa": False,
        "prefs": {},
        "accessedAt": "",
        "emailCanonical": None,
        "emailIsFree": None,
        "emailIsDisposable": None,
        "emailIsCorporate": None,
        "emailIsCanonical": None,
        "impersonator": False,
    }
    for moment in ("$id", "$createdAt", "$updatedAt"):
        del target[moment]
    assert target == {
        "name": "",
        "userId": "ada",
        "providerId": None,
        "providerType": "email",
        "identifier": "ada@example.com",
        "expired": False,
    }


def test_a_target_for_each_address(caller: Caller) -> None:
    user = caller.create_user("ada", email="ada@example.com", phone="+12065550100")
    made = [(target["providerType"], target["identifier"]) for target in user["targets"]]
    assert made == [("email", "ada@example.com"), ("sms", "+12065550100")]
    assert caller.get("/users/ada").body["targets"] == user["targets"]
    assert caller.create_user("bob")["targets"] == []


def test_an_address_that_is_a_target_already_is_shown(caller: Caller) -> None:
    caller.create_user("ada")
    taken = caller.create_target("ada", "shared@example.com", providerType="email")
    user = caller.create_user("bob", email="shared@example.com")
    assert user["targets"] == [taken]
    assert caller.get("/users/bob").body["targets"] == []


def test_a_password_is_kept_as_a_salted_hash(caller: Caller) -> None:
    user = caller.create_user("ada", password="engine-no-1")
    assert (user["hash"], user["hashOptions"]["type"]) == ("scrypt", "scrypt")
    assert user["passwordUpdate"].endswith("+00:00")
    ((stored,),) = caller.rows("SELECT password_hash FROM users WHERE project_seq = %(project)s")
    _, cpu, memory, parallel, salt, digest = stored.split("$")
    computed = hashlib.scrypt(
        b"engine-no-1", salt=base64.b64decode(salt), n=int(cpu), r=int(memory), p=int(parallel), maxmem=2**26
    )
    assert base64.b64decode(digest) == computed
    assert salt not in str(user)


@pytest.mark.parametrize(
    "second",
    [{"userId": "ada"}, {"userId": "b", "email": "ADA@example.com"}, {"userId": "b", "phone": "+12065550100"}],
)
def test_id_email_and_phone_are_taken_once(caller: Caller, second: dict[str, object]) -> None:
    caller.create_user("ada", email="ada@example.com", phone="+12065550100")
    assert caller.post("/users", second).refusal == (409, "user_already_exists")
    assert caller.get("/users").body["total"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"userId": "a", "email": ""},
        {"userId": "a", "email": "nobody"},
        {"userId": "a", "phone": "12065550100"},
        {"userId": "a", "password": "short"},
        {"userId": "a", "password": "p" * 257},
        {"userId": "a", "name": "n" * 129},
    ],
)
def test_bad_parameters_of_a_user(caller: Caller, body: dict[str, object]) -> None:
    assert caller.post("/users", body).refusal == (400, "general_argument_invalid")


def test_list_and_delete_users(caller: Caller) -> None:
    caller.create_user("ada", email="ada@example.com")
    caller.create_user("bob")
    listed = caller.get("/users").body
    assert (listed["total"], [user["$id"] for user in listed["users"]]) == (2, ["ada", "bob"])
    assert [len(user["targets"]) for user in listed["users"]] == [1, 0]
    assert caller.delete("/users/ada").status == 204
    assert caller.get("/users/ada").refusal == (404, "user_not_found")
    assert caller.delete("/users/ada").refusal == (404, "user_not_found")
    caller.create_user("ada", email="ada@example.com")


# Targets


def target(**parameters: object) -> dict[str, object]:
    return {"targetId": "t", "providerType": "push", "identifier": "token", **parameters}


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/users/ada/targets", target(providerType="fax"), (400, "general_argument_invalid")),
        ("/users/ada/targets", target(identifier=""), (400, "general_argument_invalid")),
        ("/users/ada/targets", target(identifier="i" * 256), (400, "general_argument_invalid")),
        ("/users/ada/targets", target(name="n" * 129), (400, "general_argument_invalid")),
        ("/users/ada/targets", target(targetId="-"), (400, "general_argument_invalid")),
        ("/users/ada/targets", target(providerType="email"), (400, "general_invalid_email")),
        ("/users/ada/targets", target(providerType="sms"), (400, "general_invalid_phone")),
        ("/users/missing/targets", target(providerType="sms"), (400, "general_invalid_phone")),
        ("/users/missing/targets", target(), (404, "user_not_found")),
        ("/users/ada/targets", target(targetId="taken"), (409, "user_target_already_exists")),
        ("/users/ada/targets", target(identifier="taken-token"), (409, "user_target_already_exists")),
        ("/users/bob/targets", target(identifier="taken-token"), (409, "user_target_already_exists")),
    ],
)
def test_refusals_of_a_new_target(
    caller: Caller, path: str, body: dict[str, object], expected: tuple[int, str]
) -> None:
    caller.create_user("ada")
    caller.create_user("bob")
    caller.create_target("ada", "taken-token", targetId="taken")
    assert caller.post(path, body).refusal == expected


@pytest.mark.parametrize(
    "number", ["12065550100", "+1206555010", "+4402071838750", "+1-800-FLOWERS", "+12065550100;ext=5", "+2101234567"]
)
def test_a_number_that_cannot_be_texted_is_refused_wherever_it_is_stored(caller: Caller, number: str) -> None:
    caller.create_user("ada")
    caller.create_target("ada", "+12065550100", targetId="taken", providerType="sms")

    new = caller.post("/users/ada/targets", target(providerType="sms", identifier=number))
    changed = caller.patch("/users/ada/targets/taken", {"identifier": number})
    user = caller.post("/users", {"userId": "bob", "phone": number})

    assert new.refusal == changed.refusal == (400, "general_invalid_phone")
    assert user.refusal == (400, "general_argument_invalid")


def test_a_refused_number_is_told_its_right_form(caller: Caller) -> None:
    caller.create_user("ada")
    answer = caller.post("/users/ada/targets", target(providerType="sms", identifier="+4402071838750"))
    assert answer.body["message"] == "The identifier is a phone number that is written +442071838750."


def test_an_unknown_provider_is_stored_as_none(caller: Caller) -> None:
    caller.create_user("ada")
    caller.create("/messaging/providers/fcm", {"providerId": "push", "name": "Push"})
    assert caller.create_target("ada", "1", providerId="missing")["providerId"] is None
    assert caller.create_target("ada", "2", providerId="push")["providerId"] == "push"
    other_type = caller.create_target("ada", "a@example.com", providerType="email", providerId="push")
    assert other_type["providerId"] == "push"


def test_update_of_a_target(caller: Caller) -> None:
    caller.create_user("ada")
    caller.create("/messaging/providers/fcm", {"providerId": "push", "name": "Push"})
    caller.create_target("ada", "token", targetId="phone", name="Phone")
    with caller.factory.connect() as connection:
        connection.execute("UPDATE targets SET expired = true WHERE identifier = 'token'")
    renamed = caller.patch("/users/ada/targets/phone", {"name": "Old phone"}).body
    assert (renamed["name"], renamed["identifier"], renamed["expired"]) == ("Old phone", "token", True)
    changed = caller.patch("/users/ada/targets/phone", {"identifier": "new", "providerId": "push"}).body
    assert (changed["identifier"], changed["providerId"], changed["expired"]) == ("new", "push", False)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/users/missing/targets/mail", {}, (404, "user_not_found")),
        ("/users/ada/targets/missing", {}, (404, "user_target_not_found")),
        ("/users/bob/targets/mail", {}, (404, "user_target_not_found")),
        ("/users/ada/targets/mail", {"identifier": "nobody"}, (400, "general_invalid_email")),
        ("/users/ada/targets/mail", {"identifier": "taken@example.com"}, (409, "user_target_already_exists")),
        ("/users/ada/targets/mail", {"providerId": "missing"}, (404, "provider_not_found")),
        ("/users/ada/targets/mail", {"providerId": "push"}, (400, "provider_incorrect_type")),
        ("/users/ada/targets/mail", {"name": ""}, (400, "general_argument_invalid")),
    ],
)
def test_refusals_of_an_update(caller: Caller, path: str, body: dict[str, object], expected: tuple[int, str]) -> None:
    caller.create_user("ada")
    caller.create_user("bob", email="taken@example.com")
    caller.create("/messaging/providers/fcm", {"providerId": "push", "name": "Push"})
    before = caller.create_target("ada", "ada@example.com", providerType="email", targetId="mail")
    assert caller.patch(path, body).refusal == expected
    assert caller.get("/users/ada/targets/mail").body == before


def test_get_list_and_delete_targets(caller: Caller) -> None:
    caller.create_user("ada")
    caller.create_user("bob")
    caller.create_target("ada", "token", targetId="phone")
    assert caller.get("/users/ada/targets").body["total"] == 1
    assert caller.get("/users/missing/targets").refusal == (404, "user_not_found")
    for answer in (caller.get("/users/bob/targets/phone"), caller.delete("/users/bob/targets/phone")):
        assert answer.refusal == (404, "user_target_not_found")
    assert caller.delete("/users/ada/targets/phone").status == 204
    assert caller.get("/users/ada/targets/phone").refusal == (404, "user_target_not_found")
    caller.create_target("bob", "token")
