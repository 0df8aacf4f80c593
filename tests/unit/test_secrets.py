"""Secrets at rest: by the newest key, in their own row, and nothing that could lock them away."""

import base64

import pytest

from shared.db.secrets import SecretBox, new_secret_key, parse_secret_keys
from shared.errors import ConfigurationError

OLDER, NEWER = new_secret_key(), new_secret_key()


def box_of(*keys: str) -> SecretBox:
    return SecretBox(parse_secret_keys("\n".join(keys)))


def test_the_newest_key_encrypts_and_every_key_decrypts() -> None:
    sealed = box_of(OLDER).encrypt("token", context="row")
    both = box_of(NEWER, OLDER)
    assert both.decrypt(sealed, context="row") == "token"
    assert both.encrypt("token", context="row").startswith(f"{NEWER.partition(':')[0]}.")


def test_nothing_of_the_secret_shows_and_no_two_look_alike() -> None:
    box = box_of(NEWER)
    first, second = (box.encrypt("token", context="row") for _ in range(2))
    assert first != second
    assert b"token" not in base64.b64decode(first.partition(".")[2])


def test_a_secret_decrypts_in_no_other_row() -> None:
    box = box_of(NEWER)
    with pytest.raises(ConfigurationError, match="cannot be decrypted"):
        box.decrypt(box.encrypt("token", context="1/providers/a"), context="1/providers/b")


def test_a_key_that_is_missing_is_named() -> None:
    sealed = box_of(OLDER).encrypt("token", context="row")
    with pytest.raises(ConfigurationError, match=OLDER.partition(":")[0]) as refused:
        box_of(NEWER).decrypt(sealed, context="row")
    assert "TIDINGS_SECRET_KEYS" in str(refused.value.hint)


@pytest.mark.parametrize("damaged", ["", "AAAA", "é", "A", "A" * 400])
def test_a_damaged_secret_is_told_from_a_missing_key(damaged: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be decrypted"):
        box_of(NEWER).decrypt(f"{NEWER.partition(':')[0]}.{damaged}", context="row")


@pytest.mark.parametrize(
    "keys",
    [
        "nonsense",
        ":" + base64.b64encode(bytes(32)).decode(),  # no id
        "a.b:" + base64.b64encode(bytes(32)).decode(),  # the dot ends the id in what is stored
        "a:" + base64.b64encode(bytes(31)).decode(),
        "a:" + "§" * 44,
        f"{NEWER},{NEWER}",
        "a:" + base64.b64encode(bytes(32)).decode() + "\na:" + base64.b64encode(b"x" * 32).decode(),
    ],
)
def test_keys_that_cannot_be_kept_apart_or_used_are_refused(keys: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_secret_keys(keys)


def test_keys_are_separated_by_commas_or_lines() -> None:
    assert [len(parse_secret_keys(f"{NEWER}{between}{OLDER}")) for between in (",", "\n", " ", ",\n\n")] == [2] * 4
