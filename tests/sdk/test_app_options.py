"""What a program declares, before anything is stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import roost
from roost.errors import ConfigurationError, InvalidCron, InvalidDuration, InvalidRequest, InvalidZone
from roost.sdk.configuration import DEFAULT_URL, find_url


@pytest.fixture
def app() -> roost.App:
    return roost.App("sqlite://:memory:")


def test_a_decorated_function_is_still_a_function(app: roost.App) -> None:
    @app.job(queue="mail")
    def add(a: int, b: int = 1) -> int:
        """Adds."""
        return a + b

    assert add(1, b=2) == 3
    assert add.__name__ == "add"
    assert add.__doc__ == "Adds."
    assert app.queues == ["mail", "default"]


def test_declared_rules_travel_with_every_job_and_options_change_them(app: roost.App) -> None:
    @app.job(name="n", queue="mail", retries=2, backoff="fixed", retry_base=1, timeout="2m", priority="high", hold=True)
    def send(to: str) -> None: ...

    job = send.new_job("ana")
    assert (job.kind, job.queue, job.priority, job.timeout) == ("n", "mail", 8, "2m")
    assert job.retry == roost.RetryRule(retries=2, backoff="fixed", base="1s")
    assert job.hold == roost.HoldRule()
    assert bytes(job.input) == b'{"to":"ana"}'
    changed = send.options(delay=timedelta(minutes=10), priority=9).new_job("ana")
    assert (changed.delay, changed.priority, changed.queue) == ("10m", 9, "mail")
    assert send.new_job("ana").delay is None


def test_unique_keys_are_made_of_the_named_parameters(app: roost.App) -> None:
    @app.job(unique=roost.Unique("user", "day", within="1h"))
    def brief(user: str, day: int = 1, note: str = "") -> None: ...

    first = brief.new_job("ana").unique
    assert first is not None
    assert (first.key, first.within, first.scope, first.on_conflict) == ('user="ana"&day=1', "1h", "kind", "return")
    assert brief.new_job("ana", day=1, note="x").unique == first
    assert brief.new_job("ana", 2).unique != first
    long = brief.new_job("a" * 300).unique
    assert long is not None
    assert len(long.key) <= 256
    whole = brief.options(unique=roost.Unique()).new_job("ana", note="x").unique
    assert whole is not None
    assert whole.key == 'user="ana"&note="x"'
    with pytest.raises(InvalidRequest, match="no parameter"):
        brief.options(unique=roost.Unique("usr")).new_job("ana")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"priority": 10}, InvalidRequest),
        ({"priority": "urgent"}, InvalidRequest),
        ({"delay": "soon"}, InvalidDuration),
        ({"delay": -1}, InvalidDuration),
        ({"run_at": datetime(2026, 1, 1)}, InvalidRequest),
        ({"timeout": float("nan")}, InvalidDuration),
    ],
)
def test_options_that_cannot_be_meant_are_refused(app: roost.App, options: dict[str, Any], error: type) -> None:
    @app.job
    def task() -> None: ...

    with pytest.raises(error):
        task.options(**options)


def test_a_rule_that_cannot_be_meant_is_refused_where_it_is_declared(app: roost.App) -> None:
    with pytest.raises(InvalidRequest, match="retries"):
        app.job(retries=-1)
    with pytest.raises(InvalidCron):
        app.schedule("61 8 * * *")
    with pytest.raises(InvalidZone):
        app.schedule("0 8 * * *", tz="Mars/Olympus")
    with pytest.raises(InvalidRequest, match="exactly one"):
        app.schedule("0 8 * * *", every="10m")


def test_one_batch_is_one_thousand_calls_in_any_form(app: roost.App) -> None:
    @app.job
    def add(a: int, b: int = 0) -> int:
        return a + b

    calls: list[Any] = [(1,), {"a": 1, "b": 2}, add.arguments(3, b=4)]
    batches = list(add._batches(calls * 400))
    assert [len(batch) for batch in batches] == [1000, 200]
    assert [msgspec.json.decode(job.input) for job in batches[0][:3]] == [{"a": 1}, {"a": 1, "b": 2}, {"a": 3, "b": 4}]
    with pytest.raises(InvalidRequest) as refused:
        list(add._batches([(1,), ("x",)]))
    assert refused.value.path == "jobs[1].input.a"


def test_the_url_comes_from_the_environment_then_the_nearest_file_then_a_file_here(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_url({}, inner) == DEFAULT_URL
    (tmp_path / "pyproject.toml").write_text('[tool.roost]\nurl = "sqlite:///jobs.db"\n')
    assert find_url({}, inner) == f"sqlite:///{tmp_path}/jobs.db"
    (inner / "roost.toml").write_text('url = "http://127.0.0.1:1"\n')
    assert find_url({}, inner) == "http://127.0.0.1:1"
    assert find_url({"ROOST_URL": "sqlite://:memory:"}, inner) == "sqlite://:memory:"


@pytest.mark.parametrize(
    ("text", "hint"), [('ulr = "x"', "did you mean url"), ("url = 1", "url is no text"), ("=", "TOML")]
)
def test_a_wrong_configuration_file_says_what_is_wrong(tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "roost.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=hint):
        find_url({}, tmp_path)


def test_a_url_of_no_kind_is_refused_when_it_is_needed() -> None:
    app = roost.App("redis://localhost")
    with pytest.raises(ConfigurationError, match="neither a server nor a store"):
        _ = app.sync_client
