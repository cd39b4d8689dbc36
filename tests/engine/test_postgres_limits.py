"""Two engines on one database at once: no limit is exceeded at any moment, and nobody is forgotten."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator

import psycopg
import pytest

from roost.domain.records import LimitRule, QueueRules
from roost.domain.retry import RetryRule
from roost.domain.settle import Ending
from roost.domain.states import TERMINAL
from roost.engine.batch import Batch, ClaimAnswer, ClaimWork, EnqueueWork, SettleRow
from roost.engine.calls import Promote, SetQueueRules
from roost.engine.postgres.store import PostgresStore
from roost.engine.protocol import Engine
from roost.engine.work.texts import unpack
from roost.errors import Unavailable
from tests.chaos.limits import most_at_once, most_over_rate
from tests.conformance.bench import row
from tests.engine.postgres_calls import act
from tests.engine.test_postgres_races import race

pytestmark = pytest.mark.feature("limits")

JOBS = 150
CAPS = {"one": 1, "two": 2, "five": 5}


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    store = PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)
    yield store
    store.close()


def test_racing_engines_exceed_no_limit(store: PostgresStore, postgres_url: str) -> None:
    rng = random.Random(11)
    wants: dict[int, dict[str, int]] = {}
    engine = store.engine()
    for _ in range(JOBS // 10):
        rows, costs = [], []
        for _ in range(10):
            cost = {key: rng.randint(1, min(cap, 3)) for key, cap in CAPS.items() if rng.random() < 0.25}
            rules = [LimitRule(key=key, concurrency=CAPS[key], cost=each) for key, each in cost.items()]
            if rng.random() < 0.3:
                cost["rate"] = 1
                rules.append(LimitRule(key="rate", rate="100/s", burst=10))
            costs.append(cost)
            rows.append(row(now=1, limits=rules or None, retry=RetryRule(retries=1, base="1ms", cap="1ms")))
        answers = engine.apply(Batch(_now(store), enqueues=[EnqueueWork(rows)])).enqueued[0]
        assert isinstance(answers, list)
        wants |= {answer.id: cost for answer, cost in zip(answers, costs, strict=True)}
    engine.close()

    ended: set[int] = set()
    deadline = time.monotonic() + 120

    def live(number: int, mine: Engine) -> None:
        chance = random.Random(f"7/{number}")
        mine_now: list[SettleRow] = []
        while len(ended) < JOBS and time.monotonic() < deadline:
            # A claim shares its transaction with the ends of the one before, as in a server under load.
            work = ClaimWork(["default"], chance.randint(1, 6), f"{number}/{chance.getrandbits(100)}", "w", 60_000)
            applied = mine.apply(Batch(_now(store), settles=[mine_now] if mine_now else [], claims=[work]))
            for settled in applied.settled[0] if mine_now else []:
                assert settled.state is not None
                if settled.state in TERMINAL:
                    ended.add(settled.id)
            answer = applied.claimed[0]
            assert isinstance(answer, ClaimAnswer)
            kinds = ["succeed", "succeed", "fail", "release"]
            mine_now = [
                SettleRow(lease["id"], answer.token, Ending(kind=chance.choice(kinds)))  # type: ignore[arg-type]
                for lease in unpack(answer.jobs)
            ]
            if not mine_now:
                act(mine, Promote(), now=_now(store))

    race(store, live)
    assert len(ended) == JOBS, "somebody is forgotten"
    with psycopg.connect(postgres_url) as connection:
        attempts = connection.execute("SELECT job_id, started_at, ended_at FROM attempt").fetchall()
        left = connection.execute("SELECT count(*) FROM job WHERE finished_at IS NULL").fetchone()
        slots = connection.execute("SELECT count(*), (SELECT sum(used) FROM limiter) FROM slot").fetchone()
    assert left == (0,)
    assert slots == (0, 0)
    uses: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for job, started, over in attempts:
        for key, each in wants[job].items():
            uses[key].append((started, over, each))
    for key, most in CAPS.items():
        assert most_at_once(uses[key]) <= most
    assert most_over_rate(uses["rate"], 100, 1000) <= 10


def test_an_edit_of_a_queues_limit_gives_way_to_somebodys_long_transaction(
    store: PostgresStore, postgres_url: str
) -> None:
    """As long as the edit waited for it, everybody else would wait behind the edit."""
    engine, other = store.engine(), store.engine()
    engine.apply(Batch(_now(store), enqueues=[EnqueueWork([row(now=1), row(now=1)])]))
    edit = SetQueueRules("default", QueueRules(concurrency=1))
    with psycopg.connect(postgres_url) as mine:
        mine.execute("LOCK TABLE job IN ROW EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            act(engine, edit, now=_now(store))
        work = ClaimWork(["default"], 1, "t" * 32, "w", 60_000)
        answer = other.apply(Batch(_now(store), claims=[work])).claimed[0]
        assert isinstance(answer, ClaimAnswer)
        assert answer.count == 1
    act(engine, edit, now=_now(store))
    answer = other.apply(Batch(_now(store), claims=[ClaimWork(["default"], 1, "u" * 32, "w", 60_000)])).claimed[0]
    assert isinstance(answer, ClaimAnswer)
    assert answer.count == 0, "what ran before counts"
    engine.close()
    other.close()


def _now(store: PostgresStore) -> int:
    return time.time_ns() // 1_000_000 + store.now_offset()
