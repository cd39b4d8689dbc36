"""Holds: who may decide what, when, and on which subject."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from roost.domain.duration import parse_duration
from roost.domain.records import HoldRow, HoldRule
from roost.domain.states import Event
from roost.errors import Conflict, HoldDecided, HoldExpired, InvalidRequest, SubjectChanged

Decision = Literal["approve", "deny", "answer"]

STATE_OF: dict[str, str] = {"approve": "approved", "deny": "denied", "answer": "answered"}


class HoldFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A stored hold, as the rules see it."""

    id: int
    job_id: int
    reason: str
    state: str
    subject_hash: str
    deadline: int | None
    on_expiry: Literal["deny", "approve"]
    answer: str | None = None


class Repeated(Exception):
    """The same decision was recorded before; it gets the same answer."""


def subject_hash(subject: str) -> str:
    """SHA-256 of the subject's JSON text, in hex: what a decision must quote."""
    return hashlib.sha256(subject.encode()).hexdigest()


def asked(holds: Iterable[HoldFacts]) -> str:
    """SHA-256 over several open holds and their subjects, in hex: what approving all of them must quote."""
    seen = sorted((hold.id, hold.subject_hash) for hold in holds)
    return hashlib.sha256("".join(f"{id} {subject}\n" for id, subject in seen).encode()).hexdigest()


def from_rule(rule: HoldRule, subject: str, now: int, path: str) -> HoldRow:
    """The hold a rule opens before a job's start; raises `InvalidDuration`."""
    return HoldRow(
        reason="approval",
        title=rule.title,
        subject=subject,
        subject_hash=subject_hash(subject),
        deadline=None if rule.expires is None else now + parse_duration(rule.expires, path=f"{path}.expires"),
        on_expiry=rule.on_expiry,
    )


def decide(facts: HoldFacts, decision: Decision, quoted_hash: str, answer: str | None, now: int) -> Event:
    """The event of a decision; raises `SubjectChanged`, `HoldExpired`, `HoldDecided`; `Repeated` for the same again."""
    if quoted_hash != facts.subject_hash:
        raise SubjectChanged(
            "the decision quotes another subject than the one that is held",
            path="subject_hash",
            help=f"look at the hold again (roost approvals show {facts.id}) and quote its subject_hash",
        )
    if decision == "answer" and answer is None:
        raise InvalidRequest("an answer needs a value", path="answer", help="give any JSON value")
    if facts.state == STATE_OF[decision] and facts.answer == answer:
        raise Repeated
    if facts.state == "withdrawn":
        raise Conflict("the hold was withdrawn: its job was cancelled or deleted", help="nothing is left to decide")
    if facts.state == "expired" or (facts.state == "open" and facts.deadline is not None and facts.deadline <= now):
        raise HoldExpired(
            "the hold's deadline has passed", help="its declared outcome stands; reopen the job to ask again"
        )
    if facts.state != "open":
        raise HoldDecided(
            f"the hold is {facts.state} already", help="a decision is made once; reopen the job to ask again"
        )
    if facts.reason == "question" and decision == "approve":
        raise Conflict(
            "a question needs an answer, not an approval", help="roost approvals answer ID VALUE, or deny it"
        )
    return Event.DENY if decision == "deny" else Event.APPROVE


def extend(facts: HoldFacts, by_ms: int, now: int) -> int:
    """The new deadline; raises `HoldExpired` or `HoldDecided` where there is none to move."""
    if facts.state == "expired" or (facts.deadline is not None and facts.deadline <= now and facts.state == "open"):
        raise HoldExpired("the hold's deadline has passed", help="its declared outcome stands")
    if facts.state != "open":
        raise HoldDecided(f"the hold is {facts.state} already", help="there is no deadline left to move")
    return now + by_ms


def expiry(facts: HoldFacts) -> Event:
    """What the deadline means for the job."""
    return Event.APPROVE if facts.on_expiry == "approve" else Event.DENY
