"""Searches answer as a reader of every single job would, on every engine; and they say how far they looked."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roost.domain.query import parse
from roost.domain.query_fields import FIELDS
from roost.domain.records import HoldRule
from roost.domain.states import State
from roost.engine.calls import NoteJobs
from roost.engine.searching.conditions import condition
from roost.engine.searching.dialects import POSTGRES, SQLITE, Dialect
from roost.engine.searching.walk import Bound, plan, statement
from roost.errors import InvalidCursor, InvalidQuery
from roost.wire.jobs import ListJobs
from roost.wire.search import ListFacets
from tests.conformance.bench import Bench, row
from tests.search.oracle import Facts, facts_of, matches

pytestmark = pytest.mark.feature("query")

TEXTS = [
    "prod",
    "pro",
    "Prod",
    "p%",
    "a_b",
    "a*b",
    "[x]",
    'quo"te',
    "back\\slash",
    "ünï",
    "",
    "42",
    "true",
    "null",
    "x" * 70,
]
NUMBERS: list[Any] = [0, -1, 42, 42.5, 0.1, 1e20, 9007199254740993, -0.0]
VALUES = [*TEXTS, *NUMBERS, True, False, None, [1, 2], {"deep": 42}]


def ticking() -> Any:
    """A clock for the walk that never runs out."""
    return lambda: 0.0


def populate(bench: Bench) -> dict[int, Facts]:
    """Jobs in every state, with every sort of value."""
    known = [bench.in_state(state)[0] for state in sorted(State, key=lambda state: state is State.READY)]
    for number, value in enumerate(VALUES):
        text = json.dumps({"v": value, "user": {"id": number, "v": value}}, ensure_ascii=number % 2 == 0)
        tags = {"env": value} if isinstance(value, str) and len(value) < 60 else None
        wishes: dict[str, Any] = {"tags": tags, "owner": "ana" if number % 3 == 0 else None, "priority": number % 10}
        if number % 5 == 0:
            wishes["metadata"] = json.dumps({"v": value})
        if number % 7 == 0:
            wishes["unique"] = f"key-{number}"
        known += bench.enqueue(queue=f"q{number % 3}", kind=f"mail.{number % 4}", text=text, **wishes)
    known += bench.enqueue(delay="2h", queue="later")
    known += bench.enqueue(ttl="3h", queue="later", kind="Mail")
    known += bench.enqueue(hold=HoldRule(title="start"), queue="q0")
    token, taken = bench.take(10, "q0", "q1", worker="host-7")
    bench.beat(taken[0], token, logs=[(bench.now, "info", "hello")])
    bench.step(taken[1], token, "one")
    bench.settle(taken[2], token, result=json.dumps({"total": 99.5, "ok": True}))
    bench.settle(taken[3], token, result="null")
    failures = ["no such user 17", "no such user 18", "Timed Out after 30s", "50% of it", "ünï_code"]
    for id, message in zip(taken[4:9], failures, strict=True):
        error = json.dumps({"type": "ValueError" if "user" in message else "TimeoutError", "message": message})
        bench.settle(id, token, "fail", error=error, fatal="user" in message)
    notes = {id: [text] for id, text in zip(known[9:], ["Asked ana", "50% off", "ünï"], strict=False)}
    notes[known[9]].append("she said no_1")
    for id, texts in notes.items():
        for text in texts:
            bench.act(NoteJobs(id, text))
    bench.tick(5_000)
    return {id: facts_of(bench, id, notes=notes.get(id, ())) for id in known}


def found(bench: Bench, text: str, sort: Any = "-created", limit: int = 7) -> list[int]:
    """Every page of a search."""
    ids: list[int] = []
    cursor = None
    for _ in itertools.count():
        page = bench.reader.searches.search(text, sort, limit, cursor, True, bench.now, ticking())
        assert len(page.jobs) <= limit
        assert page.searched.complete
        ids += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            assert page.count is not None
            assert page.count.exact
            assert page.count.jobs == len(ids)
            return ids
    raise AssertionError


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def times() -> st.SearchStrategy[str]:
    return st.sampled_from(
        ["1s", "2s", "5s", "1h", "+1h", "+3h", "2027-01-15T08:00:00Z", "2027-01-15T09:00:01+01:00", "1970-01-01", "0s"]
    )


OPERATORS = st.sampled_from([":>", ":>=", ":<", ":<="])
EXACT = st.sampled_from([quoted(text) for text in TEXTS if text] + ["prod", "42", "4*", "*o*", "*"])
NUMERIC = st.sampled_from([str(number) for number in NUMBERS] + ["43", "99.5", "1e20", "-5"])


def term() -> st.SearchStrategy[str]:
    json_path = st.sampled_from(["input.v", "payload.user.v", "input.user.id", "input.none", "result.total",
                                 "result.ok", "metadata.v", "input.v.deep", "input.user"])  # fmt: skip
    counted = st.sampled_from(["id", "attempt", "failures", "priority"])
    moment = st.sampled_from(["created", "scheduled", "started", "finished", "expires"])
    plain = st.one_of(
        st.lists(st.sampled_from([state.value for state in State]), min_size=1, max_size=3).map(
            lambda states: f"state:{','.join(states)}"
        ),
        st.sampled_from(["queue:q0", "queue:q*", "queue:q1,later", "kind:mail.1", "kind:m*", "kind:M*", "kind:*.2"]),
        st.sampled_from(["reason:scheduled", "reason:*", "held.reason:approval", "owner:ana", "owner:*", "owner:bob"]),
        st.sampled_from(["worker:host-7", "worker:*", "type:ValueError", "type:*", "fp:*", "error:*"]),
        st.sampled_from(["key:key-7", "key:*"]),
        st.sampled_from(["note:*", "note:asked", 'note:"no_1"', "note:50%,ÜNÏ", "note:ünï", 'note:"ana she"']),
        st.sampled_from(['error:"no such"', 'error:"50%"', "error:_", "error:valueerror", "error:ÜNÏ", "error:ünï"]),
        st.sampled_from(["has:logs", "has:steps", "has:errors", "has:result", "has:logs,steps", "has:children"]),
        st.sampled_from(["mail", "MAIL.1", "user", "timed", "%", "_", '"no such user 17"', "1", "12", "999", "0"]),
        st.sampled_from(["batch:1", "parent:*", "schedule:nightly", "schedule:*", "priority:low,high"]),
        st.builds(lambda value: f"tag.env:{value}", EXACT),
        st.builds(lambda path, values: f"{path}:{','.join(values)}", json_path,
                  st.lists(st.one_of(EXACT, NUMERIC), min_size=1, max_size=3)),
        st.builds(lambda path, how, value: f"{path}{how}{value}", json_path, OPERATORS, NUMERIC),
        st.builds(lambda name, how, value: f"{name}{how}{value}", counted, OPERATORS, st.integers(-1, 40)),
        st.builds(lambda name, values: f"{name}:{','.join(map(str, values))}", counted,
                  st.lists(st.integers(0, 40), min_size=1, max_size=3)),
        st.builds(lambda name, how, value: f"{name}{how}{value}", moment, OPERATORS, times()),
        st.builds(lambda name, day: f"{name}:{day}", moment,
                  st.sampled_from(["2027-01-15", "2026-01-01", "2027-01-16"])),
        st.builds(lambda name: f"{name}:*", st.sampled_from(["scheduled", "started", "finished", "expires"])),
        st.builds(lambda name, how, value: f"{name}{how}{value}", st.sampled_from(["wait", "run"]), OPERATORS,
                  st.sampled_from(["0s", "1ms", "2s", "4990ms", "1h"])),
    )  # fmt: skip
    return st.builds(lambda minus, text: f"-{text}" if minus else text, st.booleans(), plain)


def test_every_term_means_what_the_oracle_says(bench: Bench, request: pytest.FixtureRequest) -> None:
    facts = populate(bench)
    # A file is searched with the statements that memory is.
    examples = {"memory": 400, "file": 50, "postgresql": 200}[request.node.callspec.params["store_url"]]

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(term(), min_size=0, max_size=4), st.sampled_from(["-created", "created"]))
    def check(terms: list[str], sort: str) -> None:
        text = " ".join(terms)
        query = parse(text, bench.now)
        wanted = sorted((id for id, job in facts.items() if matches(query, job)), reverse=sort == "-created")
        assert found(bench, text, sort) == wanted, text

    check()


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRES], ids=["sqlite", "postgresql"])
def test_a_document_is_read_as_often_for_a_hundred_values_as_for_one(dialect: Dialect) -> None:
    def sql(values: int) -> str:
        query = parse(f"input.a.b:{','.join(f'{n},x{n}' for n in range(values))}", 0)
        return condition(list(query.terms), query, dialect).sql

    assert sql(50).count("i.input") == sql(1).count("i.input")


def test_the_terms_tried_are_those_there_are() -> None:
    tried = repr(term())
    missing = [name for name in FIELDS if name not in tried]
    assert missing == []


@pytest.mark.parametrize("sort", ["finished", "started", "priority", "run_at"])
def test_orders_with_an_index_of_their_own(bench: Bench, sort: str) -> None:
    facts = populate(bench)
    has = {
        "finished": lambda job: job["state"] in ("succeeded", "failed", "cancelled", "expired"),
        "started": lambda job: job["state"] == "running",
        "priority": lambda job: job["state"] == "ready",
        "run_at": lambda job: job["state"] == "waiting" and job.get("run_at"),
    }[sort]
    key = {"finished": "finished_at", "started": "started_at", "run_at": "run_at", "priority": "priority"}[sort]
    jobs = [one.job for one in facts.values() if has(one.job)]
    assert len(jobs) > 1
    # Of one priority, the first enqueued goes first: the order of claims.
    rank = (lambda job: (job[key], -job["id"])) if sort == "priority" else (lambda job: (job[key], job["id"]))
    wanted = [job["id"] for job in sorted(jobs, key=rank)]
    assert found(bench, "", sort, 3) == wanted
    assert found(bench, "", f"-{sort}", 3) == wanted[::-1]
    only = [id for id in wanted if facts[id].job["queue"] == "q2"]
    assert found(bench, "queue:q2", sort, 2) == only


def test_a_search_is_bounded_and_says_how_far_it_looked(bench: Bench) -> None:
    (rare,) = bench.enqueue(kind="rare")
    for _ in range(6):
        bench.enqueue_rows([row(text="{}") for _ in range(1000)])
    query = parse("kind:rare", bench.now)
    seen: list[int] = []
    looks = 0
    after = None
    while True:
        jobs, after = searched(bench, query, after, rows=2000)
        seen += jobs
        looks += 1
        if after is None:
            break
    assert seen == [rare]
    assert 3 <= looks <= 5

    ticks = itertools.count()
    page = bench.reader.searches.search("kind:rare", "-created", 5, None, True, bench.now, lambda: next(ticks) * 2.0)
    assert page.jobs == []
    assert not page.searched.complete
    assert page.searched.scan
    assert 0 < page.searched.rows < 6000
    assert page.cursor is not None
    assert page.count is not None
    assert not page.count.exact
    # Where rows take long, the next portion is no larger than the time that is left.
    slow = itertools.count()
    page = bench.reader.searches.search("kind:rare", "-created", 5, None, True, bench.now, lambda: next(slow) * 0.4)
    assert page.searched.rows <= 1000
    place = page.cursor
    assert place is not None
    on = bench.reader.searches.search("kind:rare", "-created", 5, place, False, bench.now, ticking())
    assert [job.id for job in on.jobs] == [rare]


def searched(bench: Bench, query: Any, after: Any, rows: int) -> tuple[list[int], Any]:
    from roost.engine.searching.sources import Sort
    from roost.engine.searching.walk import Looked, walk

    with bench.reader._session() as session:  # type: ignore[attr-defined]
        looked = Looked()
        made = plan(query, Sort(), session, set())
        ids = [id for _, id in walk(made, session, after, Bound(ticking(), rows), looked, 10)]
    assert looked.rows <= rows
    return ids, looked.last


def test_counts_are_exact_up_to_ten_thousand(bench: Bench) -> None:
    bench.fed = False
    for _ in range(10):
        bench.enqueue_rows([row(text="{}") for _ in range(1000)])
    page = bench.reader.searches.search("state:ready", "-created", 1, None, True, bench.now, ticking())
    assert page.count is not None
    assert (page.count.jobs, page.count.exact) == (10_000, True)
    bench.enqueue()
    for text in ("state:ready", "kind:m*", ""):
        page = bench.reader.searches.search(text, "-created", 1, None, True, bench.now, ticking())
        assert page.count is not None
        assert (page.count.jobs, page.count.exact) == (10_000, False)
    assert bench.reader.searches.selection(parse("state:ready", bench.now), ticking()) is None
    for text, told in (("state:ready", (2000, False)), ("state:held", (0, True))):
        facets = bench.reader.searches.facets(ListFacets(field="kind", query=text), bench.now, ticking())
        assert (facets.jobs, facets.complete) == told


def test_a_cursor_is_its_querys_own(bench: Bench) -> None:
    bench.enqueue(5)
    search = bench.reader.searches.search
    cursor = search("state:ready", "-created", 2, None, False, bench.now, ticking()).cursor
    assert cursor is not None
    for text, sort, told in (
        ("state:held", "-created", cursor),
        ("state:ready", "created", cursor),
        ("state:ready", "-created", "nonsense"),
        ("state:ready", "-created", cursor[:-4]),
        ("state:ready", "-created", "é"),
    ):
        with pytest.raises(InvalidCursor):
            search(text, sort, 2, told, False, bench.now, ticking())  # type: ignore[arg-type]


def test_relative_times_do_not_move_while_a_list_is_paged(bench: Bench) -> None:
    bench.enqueue(6)
    ids = []
    cursor = None
    while True:
        page = bench.reader.searches.search("created:>1s", "-created", 2, cursor, False, bench.now, ticking())
        ids += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
        bench.tick(600)
    assert len(ids) == 6


HOSTILE = [
    "'; DROP TABLE job; --", "x' OR '1'='1", "1); DELETE FROM job; --", "%27%20OR%201=1",
    "' UNION SELECT token FROM job--",
    "$(id)", "`id`", "\\'; --", "''||(select 1)||''", "x' AND sleep(5)--", "?", ":p1", "%s", "%(x)s", "{0}", "a:b",
    "'||chr(0)||'", "1;SELECT pg_sleep(9)", "job_state", "' /*", "*/ OR 1=1", "NULL", "0x31", "1e309", "ORDER BY 1",
]  # fmt: skip


@pytest.mark.parametrize("field", [*FIELDS, ""])
def test_no_text_of_a_query_is_ever_a_statement(bench: Bench, field: str) -> None:
    (id,) = bench.enqueue(tags={"env": "prod"})
    name = f"{field}.x" if field and FIELDS[field].path else field
    for hostile in HOSTILE:
        for value in (quoted(hostile), hostile.replace(" ", "").replace('"', "")):
            text = f"{name}:{value}" if name else value
            try:
                page = bench.reader.searches.search(text, "-created", 5, None, True, bench.now, ticking())
            except InvalidQuery:
                continue
            assert page.jobs == [], text
    assert found(bench, "") == [id]
    assert bench.state(id) is State.READY


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(text=st.text(max_size=60))
def test_any_text_is_answered_or_refused(bench: Bench, text: str) -> None:
    with contextlib.suppress(InvalidQuery):
        bench.reader.searches.search(text, "-created", 5, None, True, bench.now, ticking())


def test_the_plain_list_finds_rare_states_by_their_index(bench: Bench) -> None:
    populate(bench)
    for state in State:
        page = bench.reader.jobs(ListJobs(state=[state]))
        assert {job.state for job in page.jobs} == {state}
        query = parse(f"state:{state}", bench.now)
        with bench.reader._session() as session:  # type: ignore[attr-defined]
            made = plan(query, *_sort(), session, set())
        if state is not State.SUCCEEDED:
            assert not made.scan
            assert made.rest == ()


def _sort() -> Any:
    from roost.engine.searching.sources import Sort

    return (Sort(),)


PLANS = {
    "state:failed": "job_state",
    "state:failed,held": "job_state",
    "state:ready": "job_ready",
    "state:running": "job_running",
    "tag.env:prod": "job_tag",
    "type:ValueError": "job_error_type",
    "fp:abc": "job_error_fingerprint",
    "schedule:nightly": "fire_job",
    "batch:7": "batch_member_job",
    "id:>40 id:<50": "primary key",
}


def test_plans_name_the_index_at_fifty_thousand_jobs(bench: Bench) -> None:
    from roost.engine.searching.sources import Sort

    if bench.store.info.location == ":memory:":
        return
    bench.fed = False
    for number in range(50):
        rows = [
            row(text="{}", queue=f"q{number % 3}", tags={"env": "prod"} if n % 5 == 0 else None) for n in range(1000)
        ]
        bench.enqueue_rows(rows)
    from roost.domain.settle import Ending

    bench.enqueue_rows([row(text="{}", delay="1h", now=bench.now) for _ in range(2000)])
    token, ids = bench.take(3000, "q0")
    error = Ending(kind="fail", fatal=True, error='{"type":"ValueError","message":"no"}')
    bench.settle_many([(id, token, error) for id in ids[:2900]])
    if bench.store.info.engine == "postgresql":
        bench.engine._driver.transaction(lambda t: t.query("ANALYZE", {}))  # type: ignore[attr-defined]
    for sort in (Sort(), Sort("finished"), Sort("run_at"), Sort("priority")):
        for text, index in PLANS.items() if sort == Sort() else [("", "")]:
            with bench.reader._session() as session:  # type: ignore[attr-defined]
                made = plan(parse(text, bench.now), sort, session, set())
                sql, parameters = statement(made, None, 100, session.dialect)
                if bench.store.info.engine == "postgresql":
                    # Tables that are empty here are not where it matters: what is asked is which index has the order.
                    session._cursor.execute("SET LOCAL enable_seqscan = off")
                explain = "EXPLAIN QUERY PLAN " if bench.store.info.engine == "sqlite" else "EXPLAIN "
                told = "\n".join(str(line) for line in session.query(explain + sql, parameters))
            index = index or made.source.name
            own = {"primary key": "job_pkey", "job_tag": "job_tag_pkey"}
            name = own.get(index, index) if bench.store.info.engine == "postgresql" else ""
            if not name:
                name = "PRIMARY KEY" if index in own else index
            assert made.source.name == index
            assert name in told, told
            assert "SCAN c\n" not in told + "\n"
            assert "Seq Scan on job" not in told, told
