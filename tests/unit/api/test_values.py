"""Contract §5: every kind of value, with what passes and what does not."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from api.parameters import check, unfold
from api.schemas import values
from api.schemas.base import Parameters
from shared.errors import RejectedRequest
from shared.ids import PUBLIC_ID

STRICT = ConfigDict(strict=True)


def accepts(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind, config=STRICT).validate_python(value)
    except ValidationError:
        return False
    return True


ID_36 = "a" * 36
PASS: list[tuple[str, Any, list[object]]] = [
    ("custom id", values.CustomId, ["unique()", "a", "A1._-", "0", ID_36]),
    ("id", values.PublicId, ["a", "A1._-", ID_36]),
    ("compound id", values.CompoundId, ["a:b", "a:b:c"]),
    ("text of 128", values.Text128, ["a", "a" * 128, "✓" * 128, " "]),
    ("text of any length", values.Text, ["a", "a" * 100_000]),
    ("text that may be empty", values.EmptyOrText128, ["", "a" * 128]),
    ("integer", values.Integer, [0, -(2**31), 2**31 - 1]),
    ("badge", values.NumericInteger, [5, "5", "-1", 0]),
    ("port", values.Port, [1, 65535, "587"]),
    ("loose boolean", values.LooseBoolean, [True, False, "true", "True", "false", "False", "1", "0", 1, 0]),
    ("phone", values.Phone, ["+12065550100", "+4915123456789"]),
    ("e-mail", values.Email, ["a@example.com", "A.b+c@sub.example.org"]),
    ("role", values.Role, ["any", "guests", "users", "users/verified", "users/unverified", "user:ada"]),
    ("role", values.Role, ["user:ada/verified", "team:t", "team:t/owner", "member:m", "label:vip"]),
    ("roles", values.Roles, [[], ["any"] * 100]),
    ("object", values.JsonObject, [{}, {"a": [1, None, {"b": 1.5}]}, '{"a": 1}']),
    ("moment", values.Moment, ["2100-01-01 10:00:00.000", "2100-01-01T10:00:00Z", "2100-01-01T10:00:00.5+05:30"]),
    ("moment", values.Moment, ["2100-01-01", "9998-12-31T23:59:59.999+00:00"]),
]
FAIL: list[tuple[str, Any, list[object]]] = [
    ("custom id", values.CustomId, ["", "-a", ".a", "_a", "a b", "ä", ID_36 + "a", "unique(1)", "a\n", 5, None, ["a"]]),
    ("id", values.PublicId, ["unique()", "", "a:b", "a/b"]),
    ("compound id", values.CompoundId, ["a", "a:", ":a", "a::b", "a:unique()"]),
    ("text of 128", values.Text128, ["", "a" * 129, 5, None, ["a"], {"a": 1}]),
    ("text that may be empty", values.EmptyOrText128, ["a" * 129]),
    ("boolean", bool, ["true", "1", 1, 0, None]),
    ("integer", values.Integer, [2**31, "1", 1.0, True]),
    ("badge", values.NumericInteger, ["five", "1.5", 2**31, True, ""]),
    ("port", values.Port, [0, 65536, "0", "smtp", 1.0]),
    ("loose boolean", values.LooseBoolean, ["yes", "TRUE", 2, "", None]),
    ("phone", values.Phone, ["12065550100", "+0123456789", "+120655", "+1 206 555 0100", "+" + "1" * 16, ""]),
    ("phone", values.Phone, ["+123456789", "+4402071838750", "+1-800-FLOWERS", "+12065550100;ext=5"]),
    ("e-mail", values.Email, ["", "a", "a@", "@example.com", "a@b@c.com", "a b@example.com"]),
    ("role", values.Role, ["*", "role:all", "", "user:", "users/admin", "team:", "label:a/b", "user:" + "a" * 60]),
    ("roles", values.Roles, [["any"] * 101, "any", [1]]),
    (
        "object",
        values.JsonObject,
        ["[]", "5", "{", [], 5, {"a": "\0"}, {"a\0": 1}, {"a": [float("inf")]}, '{"a":"\\u0000"}'],
    ),
    ("moment", values.Moment, ["tomorrow", "", 5, "10000-01-01", "0000-01-01", "2100-13-01"]),
    ("moment", values.Moment, ["2100-01-01T10:00:00+25:00", "0001-01-01T00:00:00+01:00"]),
]


def cases(table: list[tuple[str, Any, list[object]]]) -> list[Any]:
    return [pytest.param(kind, value, id=f"{name} {value!r:.40}") for name, kind, all_ in table for value in all_]


@pytest.mark.parametrize(("kind", "value"), cases(PASS))
def test_passes(kind: Any, value: object) -> None:
    assert accepts(kind, value)


@pytest.mark.parametrize(("kind", "value"), cases(FAIL))
def test_fails(kind: Any, value: object) -> None:
    assert not accepts(kind, value)


def test_unique_becomes_an_id_of_its_own() -> None:
    made = {TypeAdapter(values.CustomId).validate_python("unique()") for _ in range(100)}
    assert len(made) == 100
    assert all(PUBLIC_ID.fullmatch(public_id) for public_id in made)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2100-01-02 10:00:00.250", datetime(2100, 1, 2, 10, 0, 0, 250_000, tzinfo=UTC)),
        ("2100-01-02T10:00:00+02:00", datetime(2100, 1, 2, 8, tzinfo=UTC)),
        ("2100-01-02", datetime(2100, 1, 2, tzinfo=UTC)),
    ],
)
def test_a_moment_without_a_zone_is_utc(text: str, moment: datetime) -> None:
    assert values.parse_moment(text) == moment


class Sample(Parameters):
    required: str
    optional: str = "default"
    flags: list[bool] = Field(default_factory=list)


def test_null_is_absent() -> None:
    assert check(Sample, {"required": "a", "optional": None}).optional == "default"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "`required` is required"),
        ({"required": None}, "`required`"),
        ({"required": "a", "flags": [1]}, "`flags.0`"),
    ],
)
def test_a_refusal_names_the_parameter(given: dict[str, object], named: str) -> None:
    with pytest.raises(RejectedRequest, match=named) as refused:
        check(Sample, given)
    assert refused.value.type == "general_argument_invalid"


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    """It may end up in somebody's log."""
    with pytest.raises(RejectedRequest) as refused:
        check(Sample, {"required": 1234567})
    assert "1234567" not in str(refused.value)


@pytest.mark.parametrize(
    ("pairs", "parameters"),
    [
        ([("a", "1")], {"a": "1"}),
        ([("a", "1"), ("a", "2")], {"a": "2"}),
        ([("a[]", "1"), ("a[]", "2")], {"a": ["1", "2"]}),
        ([("a[1]", "2"), ("a[0]", "1")], {"a": ["1", "2"]}),
        ([("a[10]", "11"), ("a[9]", "10")], {"a": ["10", "11"]}),
        ([("a[b]", "1"), ("a[c]", "2")], {"a": {"b": "1", "c": "2"}}),
        ([("a", "1"), ("a[0]", "2")], {"a": "1"}),
        ([("a[²]", "1")], {"a": {"²": "1"}}),
        ([("a[" + "9" * 5000 + "]", "1")], {"a": {"9" * 5000: "1"}}),
        ([("[0]", "1"), ("a[0", "2")], {"[0]": "1", "a[0": "2"}),
        ([], {}),
    ],
)
def test_brackets_in_names(pairs: list[tuple[str, str]], parameters: dict[str, object]) -> None:
    assert unfold(pairs) == parameters
