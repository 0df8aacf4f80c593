"""Permissions of single things, such as `read("user:ada")`: their form, and what a caller may give."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.kernel import Call
from api.principals import KeyHolder, LoggedIn
from api.schemas.values import ROLE_PATTERN
from shared.errors import RejectedRequest

_PERMISSION = re.compile(r'(read|create|update|delete|write)\("(.*)"\)')
_PATTERN = rf'^(read|update|delete|write)\("{ROLE_PATTERN[1:-1]}"\)$'  # `create` is for containers only
_WRITE_OF_THINGS = ("update", "delete")
_WRITE_OF_CONTAINERS = ("create", *_WRITE_OF_THINGS)


def _check(permissions: list[str], kinds: tuple[str, ...], write: tuple[str, ...]) -> list[str]:
    """Each once, with `write` written out."""
    checked: dict[str, None] = {}
    for permission in permissions:
        match = _PERMISSION.fullmatch(permission)
        if match is None or match[1] not in {*kinds, "write"} or not re.fullmatch(ROLE_PATTERN, match[2]):
            raise PydanticCustomError("permission", 'holds what is no permission such as read("any")')
        for kind in write if match[1] == "write" else (match[1],):
            checked[f'{kind}("{match[2]}")'] = None
    return list(checked)


def _check_container(permissions: list[str]) -> list[str]:
    return _check(permissions, ("read", *_WRITE_OF_CONTAINERS), _WRITE_OF_CONTAINERS)


def _check_thing(permissions: list[str]) -> list[str]:
    return _check(permissions, ("read", *_WRITE_OF_THINGS), _WRITE_OF_THINGS)


_SCHEMA = WithJsonSchema(
    {"type": "array", "maxItems": 100, "items": {"type": "string", "pattern": _PATTERN}, "examples": [['read("any")']]}
)

ContainerPermissions = Annotated[list[str], Field(max_length=100), AfterValidator(_check_container), _SCHEMA]
"""Of buckets and collections."""

ThingPermissions = Annotated[list[str], Field(max_length=100), AfterValidator(_check_thing), _SCHEMA]
"""Of files and documents."""


def permissions_to_give(call: Call, wanted: list[str] | None) -> list[str]:
    """What a new thing of the caller's gets. Users and guests may only name roles they have (contract §16)."""
    if wanted is None:
        return _all_for_its_maker(call)
    if not isinstance(call.principal, KeyHolder):
        for permission in wanted:
            role = permission.partition('("')[2].removesuffix('")')
            if role not in call.principal.roles:
                raise RejectedRequest("user_unauthorized", f"The caller has not the role {role}.")
    return wanted


def _all_for_its_maker(call: Call) -> list[str]:
    if not isinstance(call.principal, LoggedIn):
        return []
    return [f'{kind}("user:{call.user.id}")' for kind in ("read", *_WRITE_OF_THINGS)]
