"""The query language: one line of text to a list of terms, all of which a job must match.

``state:failed queue:mail* -tag.env:test input.user.id:42 created:>24h "timed out"``. The same text works in the
dashboard, the URL, the API, the command line and bulk operations. Nothing here knows of SQL: the engine makes it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from roost.domain.priority import PRIORITIES
from roost.domain.query_fields import ALIASES, FIELDS, FOREIGN, FOREIGN_STATES, HAS, Field, Kind, field_named
from roost.domain.query_times import duration, moment
from roost.domain.states import State
from roost.errors import InvalidDuration, InvalidQuery

LENGTH_LIMIT = 2_000
TERM_LIMIT = 32
VALUE_LIMIT = 100
TEXT_LIMIT = 256
PATH = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
PATH_LIMIT = 64
LARGEST = 2**53

Operator = Literal["=", ">", ">=", "<", "<="]
SortKey = Literal["created", "finished", "started", "priority", "run_at"]

_OPERATORS: tuple[Operator, ...] = (">=", "<=", ">", "<")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(?=:)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,15})?(?:[eE][+-]?[0-9]{1,2})?")
_WORDS = {"AND": "terms are joined by a space", "OR": "write either value after a comma: state:failed,expired",
          "NOT": "write a minus before the term: -state:failed"}  # fmt: skip


class Value(msgspec.Struct, frozen=True):
    """One value of a term, as its field reads it."""

    text: str
    kind: Literal["text", "glob", "any", "number", "span"] = "text"
    number: int | float | None = None
    """A number; milliseconds of a time or a duration."""
    until: int | None = None
    """Of a span (a whole day), the first millisecond after it."""


class Term(msgspec.Struct, frozen=True):
    """One condition; any of its values is enough. ``field`` is `BARE` for words without one."""

    field: str
    operator: Operator
    values: tuple[Value, ...]
    path: str | None = None
    """The rest of ``tag.K``, ``input.PATH`` and their like."""
    negated: bool = False
    position: int = 0
    length: int = 0


class Query(msgspec.Struct, frozen=True):
    """Terms that all must match, and the moment relative times were counted from."""

    terms: tuple[Term, ...]
    now: int


BARE = ""
NO_WORDS: Mapping[str, str] = {}


def parse(text: str, now: int) -> Query:
    """The terms of ``text``; relative times count from ``now`` (milliseconds).

    Raises `InvalidQuery`, whose ``position`` is the character that cannot be read.
    """
    if len(text) > LENGTH_LIMIT:
        raise _error(f"the query is over {LENGTH_LIMIT:,} characters", LENGTH_LIMIT, "use fewer or shorter terms")
    for place, character in enumerate(text):
        if (ord(character) < 32 and character not in "\t\n\r") or 0xD800 <= ord(character) <= 0xDFFF:
            raise _error("the query has a control character", place, "remove it")
    return Query(tuple(_Parser(text, now).terms()), now)


class _Parser:
    def __init__(self, text: str, now: int) -> None:
        self._text = text
        self._now = now
        self._place = 0

    def terms(self) -> list[Term]:
        found: list[Term] = []
        while True:
            while self._place < len(self._text) and self._text[self._place].isspace():
                self._place += 1
            if self._place >= len(self._text):
                return found
            if len(found) == TERM_LIMIT:
                raise _error(f"the query has more than {TERM_LIMIT} terms", self._place, "use fewer terms")
            found.append(self._term())

    def _term(self) -> Term:
        start = self._place
        negated = self._text[start] == "-"
        self._place += negated
        name = _FIELD.match(self._text, self._place)
        if name is None:
            term = self._bare(start, negated)
        else:
            field, path = self._field(name[0], self._place)
            self._place = name.end() + 1
            operator: Operator = next((one for one in _OPERATORS if self._text.startswith(one, self._place)), "=")
            self._place += 0 if operator == "=" else len(operator)
            if operator != "=" and not field.ordered:
                raise _error(f"{field.name} has no order", self._place - len(operator), f"write {field.name}:VALUE")
            values = self._values(field, operator)
            term = Term(field.name, operator, values, path, negated, start)
        return msgspec.structs.replace(term, length=self._place - start)

    def _field(self, name: str, place: int) -> tuple[Field, str | None]:
        head, dot, path = name.partition(".")
        head = ALIASES.get(head, head)
        whole = FIELDS.get(f"{head}.{path}") if dot else None
        field = whole or field_named(head)
        if field is None:
            raise _error(f"there is no field {name[:40]!r}", place, _suggest(name, [*FIELDS, *ALIASES], FOREIGN))
        if whole is not None:
            return whole, None
        if field.path and not dot:
            raise _error(f"{head} needs a path", place, f"write {head}.NAME:VALUE")
        if not field.path and dot:
            raise _error(f"{head} has no parts", place, f"write {head}:VALUE")
        if field.path and (len(path) > PATH_LIMIT or PATH.fullmatch(path) is None):
            help = f"names of letters, digits, _ and -, joined by dots; {PATH_LIMIT} characters at most"
            raise _error(f"{path[:40]!r} is no path", place, help)
        return field, path or None

    def _values(self, field: Field, operator: Operator) -> tuple[Value, ...]:
        values: list[Value] = []
        while True:
            place = self._place
            word, quoted = self._word(",")
            if not word and not quoted:
                raise _error(f"{field.name} has no value", place, f"write {field.example}")
            values.append(self._value(field, operator, word, quoted, place))
            if len(values) > VALUE_LIMIT:
                raise _error(f"more than {VALUE_LIMIT} values", place, "use fewer values")
            if self._place >= len(self._text) or self._text[self._place] != ",":
                break
            if operator != "=":
                raise _error("a comparison takes one value", self._place, f"write {field.example}")
            self._place += 1
        return tuple(values)

    def _word(self, stops: str) -> tuple[str, bool]:
        """The characters up to a space (or one of ``stops``), and whether they were quoted."""
        text, place = self._text, self._place
        if place < len(text) and text[place] == '"':
            out: list[str] = []
            place += 1
            while place < len(text) and text[place] != '"':
                if text[place] == "\\" and place + 1 < len(text):
                    place += 1
                out.append(text[place])
                place += 1
            if place >= len(text):
                raise _error("the quotation mark is not closed", self._place, 'end it with "')
            self._place = place + 1
            if self._place < len(text) and not text[self._place].isspace() and text[self._place] not in stops:
                raise _error("a quoted text ends with its quotation mark", self._place, "put a space after it")
            word, quoted = "".join(out), True
        else:
            while place < len(text) and not text[place].isspace() and text[place] not in stops:
                place += 1
            word, quoted = text[self._place : place], False
            start, self._place = self._place, place
            if '"' in word:
                raise _error("a quotation mark stands inside a word", start + word.index('"'), 'write "one two"')
        if len(word) > TEXT_LIMIT:
            raise _error(f"a value is over {TEXT_LIMIT} characters", self._place - len(word), "shorten it")
        return word, quoted

    def _bare(self, start: int, negated: bool) -> Term:
        place = self._place
        word, quoted = self._word("")
        if not word:
            raise _error("there is nothing to look for", start, "write a word, or field:value")
        if not quoted and word in _WORDS:
            raise _error(f"{word} is no operator", place, _WORDS[word])
        if not quoted and word.startswith(("(", ":")):
            raise _error(f"{word[0]!r} does not belong here", place, "a term is field:value, or a word")
        if not quoted and ":" in word:
            raise _error(f"{word.partition(':')[0][:40]!r} is no field", place, 'write a text with a colon as "a:b"')
        digits = not quoted and word.isascii() and word.isdigit() and len(word) <= 15
        value = Value(word, "number", int(word)) if digits else Value(word)
        return Term(BARE, "=", (value,), None, negated, start)

    def _value(self, field: Field, operator: Operator, word: str, quoted: bool, place: int) -> Value:
        if word == "*" and not quoted:
            if operator != "=" or not field.optional:
                raise _error(f"{field.name} takes no *", place, f"write {field.example}")
            return Value("*", "any")
        read = _READERS[field.kind]
        return read(field, operator, word, quoted, place, self._now)


def _state(field: Field, operator: Operator, word: str, quoted: bool, place: int, now: int) -> Value:
    if word not in set(State):
        known = [state.value for state in State]
        raise _error(f"there is no state {word[:40]!r}", place, _suggest(word, known, FOREIGN_STATES))
    return Value(word)


def _has(field: Field, operator: Operator, word: str, quoted: bool, place: int, now: int) -> Value:
    if word not in HAS:
        raise _error(f"a job cannot have {word[:40]!r}", place, _suggest(word, list(HAS)))
    return Value(word)


def _text(field: Field, operator: Operator, word: str, quoted: bool, place: int, now: int) -> Value:
    return Value(word)


def _glob(field: Field, operator: Operator, word: str, quoted: bool, place: int, now: int) -> Value:
    return Value(word, "glob") if "*" in word and not quoted else Value(word)


def _integer(field: Field, operator: Operator, word: str, quoted: bool, place: int, now: int) -> Value:
    if field.name == "priority" and word in PRIORITIES:
        return Value(word, "number", PRIORITIES[word])
    digits = word[1:] if word.startswith("-") else word
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 16 or abs(int(word)) > LARGEST:
        raise _error(f"{word[:40]!r} is not a whole number", place, f"write {field.example}")
    return Value(word, "number", int(word))


def _time(field: Field, operator: Operator, word: str, quoted: bool, place: int, now: int) -> Value:
    start, until, relative = moment(word, now, place)
    if operator == "=":
        if until is None:
            shown = f"{field.name}:>{word}" if relative else f"{field.name}:>={word}"
            raise _error(f"{word[:40]!r} is one instant", place, f"did you mean {shown}?")
        return Value(word, "span", start, until)
    return Value(word, "number", start)


def _duration(field: Field, operator: Operator, word: str, quoted: bool, place: int, now: int) -> Value:
    try:
        ms = duration(word)
    except InvalidDuration:
        raise _error(f"{word[:40]!r} is not a duration", place, f"write {field.example}") from None
    if operator == "=":
        raise _error(f"{field.name} is compared with > or <", place, f"did you mean {field.name}:>{word}?")
    return Value(word, "number", ms)


def _json(field: Field, operator: Operator, word: str, quoted: bool, place: int, now: int) -> Value:
    if not quoted and _NUMBER.fullmatch(word):
        whole = word.lstrip("-").isdigit()
        return Value(word, "number", int(word) if whole else float(word))
    if operator != "=":
        raise _error(f"{word[:40]!r} is not a number", place, f"write {field.name}.total:>100")
    return Value(word)


_READERS = {
    Kind.STATE: _state,
    Kind.HAS: _has,
    Kind.TEXT: _text,
    Kind.CONTAINS: _text,
    Kind.GLOB: _glob,
    Kind.INTEGER: _integer,
    Kind.TIME: _time,
    Kind.DURATION: _duration,
    Kind.JSON: _json,
}


def _suggest(word: str, known: list[str], foreign: Mapping[str, str] = NO_WORDS) -> str:
    meant = foreign.get(word.lower())
    if meant is not None:
        return f"did you mean {meant}?"
    near = difflib.get_close_matches(word.lower(), known, 1, 0.6)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"


def _error(message: str, position: int, help: str) -> InvalidQuery:
    return InvalidQuery(f"{ascii(message)[1:-1]} (character {position + 1})", position=position, help=help)
