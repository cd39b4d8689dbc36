"""Tags, owners, metadata and notes of stored jobs, for any set of them, in any state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from roost.domain.admission import TAGS_LIMIT
from roost.domain.records import JobEdit, JobFacts, JobOptions
from roost.engine.actions.sets import Refusals, judged, said
from roost.engine.driver import Transaction
from roost.engine.work.moves import record
from roost.engine.work.texts import pack
from roost.errors import InvalidRequest


def edit(transaction: Transaction, ids: Iterable[int], now: int, *, edit: JobEdit, actor: str = "") -> Refusals:
    """Change tags, owner or metadata; what was changed is recorded with who did it."""
    changed: dict[int, JobOptions] = {}

    def judge(facts: JobFacts) -> None:
        changed[facts.id] = _options(facts, edit)

    accepted, refused = judged(transaction, ids, judge)
    if not accepted:
        return refused
    text = pack([facts.id for facts in accepted])
    fresh = [facts for facts in accepted if changed[facts.id] != facts.options]
    if fresh:
        rows = [(facts.id, _text(changed[facts.id])) for facts in fresh]
        transaction.send("job_edit_options", rows=pack(rows))
        transaction.send("tag_delete", ids=pack([facts.id for facts in fresh]))
        put_tags(transaction, [(facts.id, changed[facts.id].tags or {}) for facts in fresh])
    if edit.metadata == "null":
        transaction.send("metadata_delete", ids=text)
    elif edit.metadata is not None:
        transaction.send("metadata_put", rows=pack([(facts.id, edit.metadata) for facts in accepted]))
    record(transaction, [(facts.id, "edited", actor, _told(edit)) for facts in accepted], now)
    return refused


def note(transaction: Transaction, ids: Iterable[int], now: int, *, text: str, actor: str = "") -> Refusals:
    """Write a line into jobs' histories."""
    accepted, refused = judged(transaction, ids, lambda facts: None)
    record(transaction, [(facts.id, "note", actor, said(text)) for facts in accepted], now)
    return refused


def put_tags(transaction: Transaction, tagged: Iterable[tuple[int, Mapping[str, str]]]) -> None:
    """Make jobs found by these tags."""
    rows = [(key, value, id) for id, tags in tagged for key, value in tags.items()]
    if rows:
        transaction.send("tag_put", rows=pack(rows))


def _options(facts: JobFacts, edit: JobEdit) -> JobOptions:
    tags = {**(facts.options.tags or {}), **(edit.tags or {})}
    for key in edit.untag:
        tags.pop(key, None)
    if len(tags) > TAGS_LIMIT:
        raise InvalidRequest(
            f"the job would have {len(tags)} tags, over the limit of {TAGS_LIMIT}",
            path="tags",
            help="take some away with untag",
        )
    owner = facts.options.owner if edit.owner is None else edit.owner or None
    return msgspec.structs.replace(facts.options, tags=tags or None, owner=owner)


def _text(options: JobOptions) -> str | None:
    return None if options == JobOptions() else msgspec.json.encode(options).decode()


def _told(edit: JobEdit) -> dict[str, object]:
    told: dict[str, object] = {}
    if edit.tags:
        told["tags"] = edit.tags
    if edit.untag:
        told["untag"] = edit.untag
    if edit.owner is not None:
        told["owner"] = edit.owner
    if edit.metadata is not None:
        told["metadata"] = "edited" if edit.metadata != "null" else "removed"
    return told
