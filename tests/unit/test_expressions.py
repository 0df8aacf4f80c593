"""No regular expression of ours can take more than linear time because of what somebody sends.

Read by Python's own parser of expressions, it is refused where two repeats without bound, side by side or one turn of
a repeat after the other, can take the same characters and nothing certain parts them: there are texts on which matching
tries every way to divide them. What cannot be told so is not looked at: expressions that are put together at run time,
references to groups, look-arounds, and how often a search begins anew.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from re import _constants as code
from re import _parser as parser
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
ROLES: Final = ("api", "workers", "scheduler", "shared", "deploy")
CALLS: Final = frozenset({"compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"})
WITHOUT_BOUND: Final = 1_000
"""Repeats of more than this count as such."""

CHARACTERS: Final = frozenset(map(chr, (*range(256), 0x2028, 0x0130, 0x4E00, 0xFF41)))
"""All of Latin 1, and some beyond: enough to tell whether two sets meet."""


class Hazard(Exception):  # what it is, in words
    """Two repeats that can share what they take out in many ways."""


def hazard_of(pattern: str, flags: int = 0) -> str | None:
    """What is wrong with an expression; None: nothing that can be told."""
    try:
        _after(parser.parse(pattern, flags), frozenset(), flags)
    except re.error as error:
        return f"it is none: {error}"
    except Hazard as hazard:
        return str(hazard)
    return None


def _after(items: Iterable[Any], growing: frozenset[str], flags: int) -> frozenset[str]:
    """`growing`: what the endless repeats just before could have taken as well; here, and after these items."""
    for what, how in items:
        if what in (code.MAX_REPEAT, code.MIN_REPEAT):
            growing = _after_repeat(how, growing, flags)
        elif what is code.SUBPATTERN:
            growing = _after(how[3], growing, flags)
        elif what is code.BRANCH:
            growing = frozenset(chain.from_iterable([_after(branch, growing, flags) for branch in how[1]]))
        elif what in (code.LITERAL, code.NOT_LITERAL, code.ANY, code.IN):
            growing = growing if growing & _set_of(what, how, flags) else frozenset()
        elif what in (code.ATOMIC_GROUP, code.POSSESSIVE_REPEAT):
            growing = frozenset()  # nothing is given back
    return growing


def _after_repeat(how: Any, growing: frozenset[str], flags: int) -> frozenset[str]:
    least, most, body = how
    skipped = growing if least == 0 else frozenset()
    if most <= WITHOUT_BOUND:
        return skipped | _after(body, growing, flags)
    if any(_is_endless(*item) for item in _all_items(body)):
        once = _after(body, growing, flags)
        return skipped | _after(body, once, flags)  # what ends one turn meets what begins the next
    first, _ = _first_of(body, flags)
    if growing & first:
        raise Hazard("two repeats without bound can take the same characters, with nothing certain between them")
    return skipped | first


def _is_endless(what: Any, how: Any) -> bool:
    return what in (code.MAX_REPEAT, code.MIN_REPEAT) and how[1] > WITHOUT_BOUND


def _sequences_in(what: Any, how: Any) -> Iterator[list[Any]]:
    if what in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT):
        yield list(how[2])
    elif what is code.SUBPATTERN:
        yield list(how[3])
    elif what is code.ATOMIC_GROUP:
        yield list(how)
    elif what is code.BRANCH:
        yield from (list(branch) for branch in how[1])


def _all_items(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        yield item
        for inner in _sequences_in(*item):
            yield from _all_items(inner)


def _first_of(items: Iterable[Any], flags: int) -> tuple[frozenset[str], bool]:
    """The characters that they may begin with, and whether they may be empty."""
    first: frozenset[str] = frozenset()
    for what, how in items:
        if what in (code.LITERAL, code.NOT_LITERAL, code.ANY, code.IN):
            return first | _set_of(what, how, flags), False
        inner = [_first_of(sequence, flags) for sequence in _sequences_in(what, how)]
        first |= frozenset(chain.from_iterable(characters for characters, _ in inner))
        is_repeat = what in (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT)
        if inner and not (is_repeat and how[0] == 0) and not any(is_empty for _, is_empty in inner):
            return first, False
    return first, True


def _set_of(what: Any, how: Any, flags: int) -> frozenset[str]:
    if what is code.ANY:
        return CHARACTERS if flags & re.DOTALL else CHARACTERS - {"\n"}
    if what is code.LITERAL:
        return frozenset({chr(how), chr(how).upper(), chr(how).lower()} if flags & re.IGNORECASE else {chr(how)})
    if what is code.NOT_LITERAL:
        return CHARACTERS - {chr(how)}
    inside: set[str] = set()
    for kind, value in how:
        if kind is code.LITERAL:
            inside.add(chr(value))
        elif kind is code.RANGE:
            inside |= {character for character in CHARACTERS if value[0] <= ord(character) <= value[1]}
        elif kind is code.CATEGORY:
            inside |= {character for character in CHARACTERS if re.match(_CATEGORIES[value], character)}
    return CHARACTERS - inside if (code.NEGATE, None) in how else frozenset(inside)


_CATEGORIES: Final = {
    code.CATEGORY_DIGIT: r"\d",
    code.CATEGORY_NOT_DIGIT: r"\D",
    code.CATEGORY_SPACE: r"\s",
    code.CATEGORY_NOT_SPACE: r"\S",
    code.CATEGORY_WORD: r"\w",
    code.CATEGORY_NOT_WORD: r"\W",
}


def expressions_in(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each that stands in the source as it is, or is put together of names that do."""
    tree = ast.parse(source)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                if (text := _text_of(value, known)) is not None:
                    known[name] = text
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        is_call = (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in CALLS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
        )
        given = node.args[:1] if is_call else [word.value for word in node.keywords if word.arg == "pattern"]
        for argument in given:
            text = _text_of(argument, known)
            if text is not None:
                yield node.lineno, text


def _text_of(node: ast.expr, known: dict[str, str]) -> str | None:
    """None: it is not known before the program runs."""
    if isinstance(node, ast.Constant):
        return node.value.decode("latin-1") if isinstance(node.value, bytes) else str(node.value)
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text_of(node.left, known), _text_of(node.right, known)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.JoinedStr):
        parts = [_text_of(part.value if isinstance(part, ast.FormattedValue) else part, known) for part in node.values]
        return None if None in parts else "".join(filter(None, parts))
    return None


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$",
        r"(\w+\s*)*!",
        r"(?:a*)*",
        r"\s*\s+x",
        r"Android [^;)]*; ([^;)]+?)(?: Build/[^;)]*)?[;)]",
        r"(?:iPhone|CPU).* OS .*x",
        r"^.*,.*$",
        r"[a-z]+[a-z0-9]*@",
        r"\d+\.?\d+",
        r"(a|b+)*c",
        r"(?:ab)*(?:ab)*c",
    ],
)
def test_what_may_take_long_is_known(pattern: str) -> None:
    assert hazard_of(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"[^@]+@[^@]+",
        r"[a-z0-9]+(?:-[a-z0-9]+)*",
        r"\d+(?:\.\d+)*",
        r"bytes=(\d{0,15})-(\d{0,15})",
        r'"([^"]*)"|([^\s"]+)',
        r"[^\s]+\s+[^\s]+",
        r'"(?:[^"\\]|\\.)*"\s*<',
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}",
    ],
)
def test_what_is_linear_is_let_be(pattern: str) -> None:
    assert hazard_of(pattern) is None


def test_no_expression_of_ours_may_take_long() -> None:
    files = [path for role in ROLES for path in (ROOT / role).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {pattern!r}: {hazard}"
        for path in files
        for line, pattern in expressions_in(path.read_text())
        if (hazard := hazard_of(pattern))
    ]
    looked_at = sum(1 for path in files for _ in expressions_in(path.read_text()))
    assert looked_at > 50
    assert found == []
