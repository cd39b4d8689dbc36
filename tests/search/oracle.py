"""What a query means, told again without any SQL: one job's facts against one term after the other."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from roost.domain.query import Query, Term, Value
from tests.conformance.bench import Bench

COMPARE = {
    "=": lambda one, other: one == other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
}
MISSING = object()


@dataclass
class Facts:
    """One job as the API tells it, with what stands beside it."""

    job: dict[str, Any]
    error: dict[str, str] | None
    parent: int | None
    batch: int | None
    has: set[str]
    notes: Sequence[str] = ()


def ms(text: str | None) -> int | None:
    if text is None:
        return None
    return round((datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def facts_of(
    bench: Bench, id: int, *, parent: int | None = None, batch: int | None = None, notes: Sequence[str] = ()
) -> Facts:
    """Everything a query may ask for."""
    import msgspec

    from roost.domain.fingerprints import fingerprint

    job: dict[str, Any] = json.loads(msgspec.json.encode(bench.job(id)))
    errors = [one["error"] for one in job.get("attempts", []) if one.get("error")]
    error = None
    if errors:
        made = fingerprint(json.dumps(errors[-1]))
        error = {"type": made.type, "message": made.message, "fp": made.fingerprint}
    has = {name for name, there in (("errors", error), ("result", "result" in job)) if there}
    if bench.reader.logs(id, 0, 1).lines:
        has.add("logs")
    if bench.reader.steps(id):
        has.add("steps")
    return Facts(job, error, parent, batch, has, notes)


def matches(query: Query, facts: Facts) -> bool:
    return all(_term(term, facts, query.now) != term.negated for term in query.terms)


def _term(term: Term, facts: Facts, now: int) -> bool:
    return any(_value(term, value, facts, now) for value in term.values)


def _contains(words: str, *texts: str | None) -> bool:
    def low(text: str) -> str:
        return "".join(one.lower() if one.isascii() else one for one in text)

    return any(text is not None and low(words) in low(text) for text in texts)


def _value(term: Term, value: Value, facts: Facts, now: int) -> bool:
    job, error = facts.job, facts.error or {}
    if term.field == "":
        if value.kind == "number":
            return str(job["id"]).startswith(value.text)
        return _contains(value.text, job["kind"], error.get("type"), error.get("message"))
    if term.field in ("input", "result", "metadata"):
        return _json(term, value, job.get(term.field))
    if term.field == "has":
        return value.text in facts.has
    if term.field == "error":
        return bool(error) if value.kind == "any" else _contains(value.text, error.get("type"), error.get("message"))
    if term.field == "note":
        return bool(facts.notes) if value.kind == "any" else _contains(value.text, *facts.notes)
    if term.field == "held.reason":
        return bool(job["state"] == "held" and job.get("reason") == value.text)
    found = _fact(term, facts, now)
    if value.kind == "any":
        return found is not None
    if found is None:
        return False
    if value.kind == "glob":
        return fnmatch.fnmatchcase(found, value.text.replace("[", "[[]").replace("?", "[?]"))
    if value.kind == "span":
        return bool(value.number <= found < value.until)
    return bool(COMPARE[term.operator](found, value.text if value.kind == "text" else value.number))


def _fact(term: Term, facts: Facts, now: int) -> Any:
    job, error = facts.job, facts.error or {}
    created, run_at = ms(job["created_at"]), ms(job.get("run_at"))
    started, finished = ms(job.get("started_at")), ms(job.get("finished_at"))
    match term.field:
        case "tag":
            return (job.get("tags") or {}).get(term.path)
        case "key":
            return job.get("unique_key")
        case "fp" | "type":
            return error.get(term.field)
        case "parent":
            return facts.parent
        case "batch":
            return facts.batch
        case "created":
            return created
        case "scheduled":
            return run_at
        case "started":
            return started
        case "finished":
            return finished
        case "expires":
            return ms(job.get("expires_at"))
        case "wait":
            assert created is not None
            due = max(created, run_at or 0)
            end = started if started is not None and started >= due else finished if finished is not None else now
            return max(0, end - due)
        case "run":
            if started is None:
                return None
            if job["state"] == "running":
                return now - started
            return finished - started if finished is not None and finished >= started else None
        case field:
            return job.get(field)


def _json(term: Term, value: Value, document: Any) -> bool:
    found: Any = document
    for name in (term.path or "").split("."):
        found = found.get(name, MISSING) if isinstance(found, dict) else MISSING
    if found is MISSING:
        return False
    if value.kind == "any":
        return found is not None
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if term.operator != "=":
        return number and bool(COMPARE[term.operator](found, value.number))
    if number:
        return value.kind == "number" and bool(found == value.number)
    if isinstance(found, bool):
        return value.text == ("true" if found else "false")
    if found is None:
        return value.kind != "number" and value.text == "null"
    return bool(found == value.text)
