"""What is told of an exception: its type and the frames it passed. Its text may quote what a customer wrote.

Libraries format texts of exceptions into sentences of their own before anybody can look, so those are cut as well.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from traceback import walk_tb
from types import TracebackType
from typing import Any, Final

OURS: Final = ("api", "workers", "scheduler", "shared", "deploy")
"""Packages whose sentences are written for the log."""

MOST_FRAMES: Final = 50  # of one exception: the outermost and the innermost half; a recursion has a thousand
MOST_EXCEPTIONS: Final = 10  # that led to one another, members of groups included

PLAIN_WORD: Final = re.compile(r"[\w.:/\-]{1,100}|(redis|rediss|amqp|amqps)://\S*")
"""What of a library's values may stand beside an exception: ids, names, numbers; and brokers, whose passwords kombu
hides.
"""

BEGIN_OF_QUOTES: Final = re.compile(r"""[:;=<>(\[{'"`]""")
"""Where a library's sentence about an exception ends, and what it quotes begins."""


def describe(error: BaseException) -> str:
    """Lines: the type, below it each frame as `file:line function`; then what it came of, likewise."""
    lines: list[str] = []
    for number, each in enumerate(_chain(error)):
        lines.append(f"{'' if number == 0 else 'of '}{type_name(each)}")
        lines += [f"  {frame}" for frame in frames_of(each.__traceback__)]
    return "\n".join(lines)


def type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def frames_of(traceback: TracebackType | None) -> list[str]:
    frames = [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in walk_tb(traceback)]
    if len(frames) <= MOST_FRAMES:
        return frames
    half = MOST_FRAMES // 2
    return [*frames[:half], f"{len(frames) - 2 * half} more", *frames[-half:]]


def without_texts(value: Any, *, is_ours: bool) -> Any:
    """A value of a log line: exceptions in it become their types, and where a library says it while an exception is
    being told, texts that may quote one are left out.
    """
    match value:
        case BaseException():
            return type_name(value)
        case str() if not is_ours:
            return value if PLAIN_WORD.fullmatch(value) and "Error(" not in value else "not shown"
        case Mapping():
            return {key: without_texts(inner, is_ours=is_ours) for key, inner in value.items()}
        case list() | set() | frozenset():
            return [without_texts(inner, is_ours=is_ours) for inner in value]
        case tuple():
            return tuple(without_texts(inner, is_ours=is_ours) for inner in value)
    return value if is_ours or value is None or isinstance(value, int | float) else "not shown"


def first_words(sentence: str) -> str:
    """Of a library's finished sentence about an exception: what comes before anything it may quote."""
    return BEGIN_OF_QUOTES.split(sentence.partition("\n")[0], maxsplit=1)[0].strip() or "not shown"


def hide_texts(sentence: str, error: BaseException) -> str:
    """The sentence without the texts of exceptions that are not."""
    for each in _chain(error):
        if type(each).__module__.partition(".")[0] in OURS:
            continue  # its text is one of our sentences
        for text in (repr(each), str(each)):
            if len(text) > 1:
                sentence = sentence.replace(text, type_name(each))
    return sentence


def exception_in(value: Any) -> BaseException | None:
    """Of the values a log line was given: the first that is an exception."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    if isinstance(value, BaseException):
        return value
    return next((found for each in inner if (found := exception_in(each)) is not None), None)


def write_uncaught(error: BaseException | None, what: str) -> None:
    """To stderr, past every logger: for where there is none, or where it is at fault itself."""
    words = describe(error) if error is not None else "no exception"
    sys.stderr.write(f"{what}: {words}\n")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """It, and what it came of, nearest first; members of a group after the group."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < MOST_EXCEPTIONS:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        came_of = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
        if came_of is not None:
            waiting.append(came_of)
