"""Everything at once: walks of all operations over batches, chains, dependencies and limits; long ones by hand."""

from __future__ import annotations

import pytest

from roost.engine.opening import open_store
from tests.conformance.bench import START, Bench, seeded
from tests.conformance.walk import walk

pytestmark = [
    pytest.mark.feature("batches"),
    pytest.mark.feature("chains"),
    pytest.mark.feature("dependencies"),
    pytest.mark.feature("limits"),
    pytest.mark.feature("quarantine"),
    pytest.mark.feature("queue-control"),
]


def many_walks(bench: Bench, count: int, steps: int) -> None:
    for seed in range(count):
        bench.now = START + (seed + 1) * 100_000_000
        walk(bench, seed, steps)


def test_nothing_is_lost_or_left_whatever_is_done_in_whatever_order(bench: Bench) -> None:
    many_walks(bench, 3, 40)


MUTANTS = {
    "slots are not given back": ("limiter_free", "limiter.used - (r.value ->> 1)", "limiter.used"),
    "a deleted job leaves no word": ("flow_gone", "flags & 32 = 32", "false"),
    "a lowered line is not looked at": ("limiter_next", "next_at = r.value ->> 1", "next_at = NULL"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_model_is_not_blind(mutant: str) -> None:
    name, sound, broken = MUTANTS[mutant]
    store = open_store("sqlite://:memory:", "embedded", rng=seeded())
    bench = Bench(store, store.engine())
    statements = bench.engine._driver._transaction._statements  # type: ignore[attr-defined]
    kept = statements[name]
    assert sound in kept
    try:
        statements[name] = kept.replace(sound, broken)
        with pytest.raises(AssertionError):
            many_walks(bench, 40, 120)
    finally:
        statements[name] = kept
        bench.engine.close()
        store.close()
