"""Word search: what each list is searched in, and a search text as a condition (contract §6)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    and_,
    cast,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from shared.db.models import Subscriber, Target, User
from shared.ids import ProjectSeq

Condition = ColumnElement[bool]
Closed = Mapping[SQLColumnExpression[Any], Sequence[str]]
"""Columns of few values, each with all that it may have."""

# To the letter what migration 0003 has in its indexes; test_plans.py of the lists would tell.
MESSAGE_TEXT = (
    "messages.id || ' ' || coalesce(messages.data ->> 'subject', '') || ' ' || coalesce(messages.data ->> 'title', '')"
    " || ' ' || CASE messages.channel WHEN 'sms' THEN coalesce(messages.data ->> 'content', '') ELSE '' END"
)
TOPIC_TEXT = "topics.id || ' ' || topics.name"
USER_TEXT = (
    "users.id || ' ' || users.email || ' ' || users.phone || ' ' || users.name"
    " || ' ' || coalesce(tidings_labels(users.labels), '')"
)

# As tidings_words() has it: a word ends at any ASCII character that is neither letter, digit nor underscore.
_BETWEEN_WORDS = re.compile(r"[\x00-/:-@\[-^`{-\x7f]+")
_WORD_LENGTH = 64
_SPACES = str.maketrans(dict.fromkeys("@+-*()<>~", " "))
_TERMS = re.compile(r'"([^"]*)"|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a search text; an item is found by any of them."""

    text: str  # lower case
    is_quoted: bool  # stands there exactly so
    is_beginning: bool  # of a word: the last term

    @property
    def words(self) -> list[str]:
        return [word[:_WORD_LENGTH] for word in _BETWEEN_WORDS.split(self.text) if word]

    def matches(self, word: str) -> bool:
        """For words of a closed set, such as statuses."""
        return word.startswith(self.text) if self.is_beginning else word == self.text


def read_terms(search: str) -> list[Term]:
    found = [pair for pair in _TERMS.findall(search.lower().translate(_SPACES)) if any(pair)]
    return [
        Term(quoted or word, is_quoted=bool(quoted), is_beginning=bool(word) and index == len(found) - 1)
        for index, (quoted, word) in enumerate(found)
    ]


class Searched(Protocol):
    """What a list is searched in."""

    def condition(self, search: str) -> Condition: ...


@dataclass(frozen=True, slots=True)
class Words:
    """A text by its words, and columns of few values, which would fill an index without telling much apart.

    With an index on tidings_words(content) that is `content` to the letter, words are looked up there.
    """

    content: str | SQLColumnExpression[str]
    closed: Closed

    def condition(self, search: str) -> Condition:
        terms = read_terms(search)
        return or_(false(), *map(self._has_words, terms), *_closed_conditions(self.closed, terms))

    def _has_words(self, term: Term) -> Condition:
        words = term.words
        if not words:
            return false()
        wanted = [f"'{word}'" for word in words]
        if term.is_beginning:
            wanted[-1] += ":*"
        content = literal_column(self.content) if isinstance(self.content, str) else self.content
        has_words = func.tidings_words(content).op("@@", is_comparison=True)(cast(" & ".join(wanted), TSQUERY))
        if not term.is_quoted:
            return has_words
        spaced = func.translate(func.lower(content), '@+-*()<>~"', " " * 10)
        return and_(has_words, spaced.regexp_match(rf"\m{re.escape(term.text.strip())}\M"))


@dataclass(frozen=True, slots=True)
class MemberIds:
    """Subscribers by their own id, their target's or their user's, as a whole; and by their channel.

    Ids are found through the indexes there are: an index of words over millions of subscribers and targets would cost
    every import more than a search by half an id is worth.
    """

    project_seq: ProjectSeq
    closed: Closed

    def condition(self, search: str) -> Condition:
        ids = literal(list(dict.fromkeys([search, *search.replace('"', " ").split()])))
        of_target = select(Subscriber.seq).join(Target, Target.seq == Subscriber.target_seq)
        named = union_all(
            select(Subscriber.seq).where(Subscriber.project_seq == self.project_seq, Subscriber.id == func.any(ids)),
            of_target.where(Target.project_seq == self.project_seq, Target.id == func.any(ids)),
            of_target.join(User, User.seq == Target.user_seq).where(
                User.project_seq == self.project_seq, User.id == func.any(ids)
            ),
        )
        return or_(Subscriber.seq.in_(named), *_closed_conditions(self.closed, read_terms(search)))


def _closed_conditions(closed: Closed, terms: Sequence[Term]) -> list[Condition]:
    conditions: list[Condition] = []
    for column, values in closed.items():
        matched = [value for value in values if any(term.matches(value) for term in terms)]
        if matched:
            conditions.append(column.in_(matched))
    return conditions
