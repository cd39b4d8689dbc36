"""Terms as conditions on a job's rows: columns and operators come from tables here, values are always parameters."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from roost.domain.query import BARE, Query, Term, Value
from roost.engine.searching.dialects import Dialect, words

_COLUMNS = {
    "state": "j.state",
    "reason": "j.reason",
    "queue": "j.queue",
    "kind": "j.kind",
    "id": "j.id",
    "worker": "j.worker",
    "attempt": "j.attempt",
    "failures": "j.failures",
    "priority": "j.priority",
    "created": "j.created_at",
    "scheduled": "j.run_at",
    "started": "j.started_at",
    "finished": "j.finished_at",
    "expires": "j.expires_at",
    "type": "e.type",
    "fp": "e.fingerprint",
}
_OPERATORS = {"=": "=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}
_HAS = {
    "logs": "EXISTS (SELECT 1 FROM job_log x WHERE x.job_id = j.id)",
    "steps": "EXISTS (SELECT 1 FROM step x WHERE x.job_id = j.id)",
    "errors": "e.job_id IS NOT NULL",
    "result": "EXISTS (SELECT 1 FROM job_result x WHERE x.job_id = j.id)",
    "children": "EXISTS (SELECT 1 FROM child x WHERE x.parent_id = j.id)",
}
# What a job has waited for its start since it could start; a retry waits anew.
_DUE = "CASE WHEN coalesce(j.run_at, 0) > j.created_at THEN j.run_at ELSE j.created_at END"
_WAIT = (
    f"CASE WHEN j.started_at >= {_DUE} THEN j.started_at - {_DUE} "
    f"WHEN coalesce(j.finished_at, :now) > {_DUE} THEN coalesce(j.finished_at, :now) - {_DUE} ELSE 0 END"
)
_RUN = (
    "CASE WHEN j.started_at IS NULL THEN NULL WHEN j.state = 'running' THEN :now - j.started_at "
    "WHEN j.finished_at >= j.started_at THEN j.finished_at - j.started_at END"
)
JOINS = {
    "i": "JOIN job_input i ON i.job_id = j.id",
    "r": "LEFT JOIN job_result r ON r.job_id = j.id",
    "e": "LEFT JOIN job_error e ON e.job_id = j.id",
    "m": "LEFT JOIN job_metadata m ON m.job_id = j.id",
}


class Condition(msgspec.Struct):
    """SQL over ``j`` and the tables of ``joins``, with its parameters."""

    sql: str
    parameters: dict[str, object]
    joins: set[str]

    @property
    def joined(self) -> str:
        """The joins it needs."""
        return " ".join(JOINS[name] for name in sorted(self.joins))


def condition(terms: list[Term], query: Query, dialect: Dialect) -> Condition:
    """All of ``terms`` as one condition; true where there is none."""
    made = _Maker(dialect)
    parts = [made.term(term) for term in terms]
    if any(":now" in part for part in parts):
        made.parameters["now"] = query.now
    return Condition(" AND ".join(parts) or "1 = 1", made.parameters, made.joins)


class _Maker:
    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._number = 0
        self.parameters: dict[str, object] = {}
        self.joins: set[str] = set()

    def term(self, term: Term) -> str:
        if term.field in _DOCUMENTS:
            any_of = self._json(term)
        else:
            make: Callable[[Term, Value], str] = _SPECIAL.get(term.field, _Maker._plain).__get__(self)
            any_of = " OR ".join(f"({make(term, value)})" for value in term.values)
        return f"NOT coalesce({any_of}, false)" if term.negated else f"({any_of})"

    def _name(self) -> str:
        self._number += 1
        return f"p{self._number}"

    def _put(self, value: object) -> str:
        name = self._name()
        self.parameters[name] = value
        return name

    def _plain(self, term: Term, value: Value) -> str:
        column = _COLUMNS[term.field]
        if column.startswith("e."):
            self.joins.add("e")
        return self._compare(column, term, value)

    def _compare(self, column: str, term: Term, value: Value) -> str:
        if value.kind == "any":
            return f"{column} IS NOT NULL"
        if value.kind == "glob":
            return self._dialect.glob(column, self._put(self._dialect.pattern(value.text)))
        if value.kind == "span":
            return f"{column} >= :{self._put(value.number)} AND {column} < :{self._put(value.until)}"
        wanted = value.text if value.kind == "text" else value.number
        return f"{column} {_OPERATORS[term.operator]} :{self._put(wanted)}"

    def _bare(self, term: Term, value: Value) -> str:
        if value.kind == "number":
            return f"CAST(j.id AS text) LIKE :{self._put(f'{value.text}%')}"
        self.joins.add("e")
        pattern = self._put(words(value.text))
        return " OR ".join(self._dialect.contains(column, pattern) for column in ("j.kind", "e.type", "e.message"))

    def _error(self, term: Term, value: Value) -> str:
        self.joins.add("e")
        if value.kind == "any":
            return "e.job_id IS NOT NULL"
        pattern = self._put(words(value.text))
        return " OR ".join(self._dialect.contains(column, pattern) for column in ("e.type", "e.message"))

    def _note(self, term: Term, value: Value) -> str:
        text = self._dialect.member("x.data", "note")
        found = f"{text} IS NOT NULL"
        if value.kind != "any":
            found = self._dialect.contains(text, self._put(words(value.text)))
        return f"EXISTS (SELECT 1 FROM event x WHERE x.job_id = j.id AND x.data IS NOT NULL AND {found})"  # noqa: S608

    def _tag(self, term: Term, value: Value) -> str:
        key = self._put(term.path)
        rest = "" if value.kind == "any" else f" AND {self._compare('x.value', term, value)}"
        return f"EXISTS (SELECT 1 FROM job_tag x WHERE x.job_id = j.id AND x.key = :{key}{rest})"  # noqa: S608

    def _option(self, term: Term, value: Value) -> str:
        self.joins.add("i")
        column = self._dialect.member("i.options", {"owner": "owner", "key": "unique_key"}[term.field])
        return self._compare(self._dialect.after_line(column) if term.field == "key" else column, term, value)

    def _schedule(self, term: Term, value: Value) -> str:
        rest = "" if value.kind == "any" else f" AND {self._compare('x.schedule', term, value)}"
        return f"EXISTS (SELECT 1 FROM fire x WHERE x.job_id = j.id{rest})"  # noqa: S608

    def _relation(self, term: Term, value: Value) -> str:
        table, column = {"batch": ("batch_member", "x.batch_id"), "parent": ("child", "x.parent_id")}[term.field]
        return f"EXISTS (SELECT 1 FROM {table} x WHERE x.job_id = j.id AND {self._compare(column, term, value)})"  # noqa: S608

    def _span_of(self, term: Term, value: Value) -> str:
        return self._compare({"wait": f"({_WAIT})", "run": f"({_RUN})"}[term.field], term, value)

    def _held(self, term: Term, value: Value) -> str:
        return f"j.state = 'held' AND {self._compare('j.reason', term, value)}"

    def _has(self, term: Term, value: Value) -> str:
        if value.text == "errors":
            self.joins.add("e")
        return _HAS[value.text]

    def _json(self, term: Term) -> str:
        """One look at the document for all values: each would read all of it."""
        alias, document = {"input": ("i", "i.input"), "result": ("r", "r.result"), "metadata": ("m", "m.metadata")}[
            term.field
        ]
        self.joins.add(alias)
        dialect, path, place = self._dialect, term.path or "", self._name()
        kind = dialect.json_type(document, path, place, self.parameters)
        values = [value for value in term.values if value.kind != "any"]
        any_value = "" if len(values) == len(term.values) else f"coalesce({kind} <> 'null', false)"
        if not values:
            return any_value
        branches = []
        wanted = [dialect.number(self._put(repr(value.number))) for value in values if value.kind == "number"]
        if wanted:
            number = dialect.json_number(document, path, place, self.parameters)
            compared = (
                f"IN ({', '.join(wanted)})" if term.operator == "=" else f"{_OPERATORS[term.operator]} {wanted[0]}"
            )
            branches.append(f"WHEN 'number' THEN {number} {compared}")
        if term.operator == "=":
            text = dialect.json_text(document, path, place, self.parameters)
            same = f"{text} IN ({', '.join(f':{self._put(value.text)}' for value in values)})"
            branches += [f"WHEN 'string' THEN {same}", f"WHEN 'boolean' THEN {same}"]
            if any(value.kind != "number" and value.text == "null" for value in values):
                branches.append("WHEN 'null' THEN true")
        found = f"CASE {kind} {' '.join(branches)} END"
        return f"{found} OR {any_value}" if any_value else found


_SPECIAL: dict[str, Callable[[_Maker, Term, Value], str]] = {
    BARE: _Maker._bare,
    "error": _Maker._error,
    "note": _Maker._note,
    "tag": _Maker._tag,
    "owner": _Maker._option,
    "key": _Maker._option,
    "schedule": _Maker._schedule,
    "batch": _Maker._relation,
    "parent": _Maker._relation,
    "wait": _Maker._span_of,
    "run": _Maker._span_of,
    "held.reason": _Maker._held,
    "has": _Maker._has,
}
_DOCUMENTS = ("input", "result", "metadata")
