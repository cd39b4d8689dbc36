"""Django's tasks on Roost, in a process of its own, as Django's settings are the process's: see test_django."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

import roost
from examples.django_app.shop.models import Order
from examples.django_app.shop.tasks import attempts, confirm, double, fail
from roost.django.backend import RoostBackend, _error, in_transaction, priority
from roost.django.compat import base, exceptions, signals, tasks
from roost.errors import ConfigurationError
from roost.wire.jobs import ErrorInfo

BESIDE = os.environ.get("SHOP_POSTGRES") == os.environ.get("ROOST_URL")
"""Whether Roost's tables are in the shop's own database."""


def raises(kind: type[Exception], work: Callable[[], Any], words: str = "") -> None:
    with pytest.raises(kind, match=words or None):
        work()


def work() -> None:
    call_command("roost_worker", until_idle=True)


def check_results() -> None:
    told: list[tuple[str, str]] = []
    for name in ("task_enqueued", "task_started", "task_finished"):
        getattr(signals, name).connect(
            lambda sender, task_result, name=name, **_: told.append((name, task_result.task.name)), weak=False
        )
    with transaction.atomic():
        order = Order.objects.create(customer="ana")
        mail = confirm.enqueue(order.id)
        assert mail.id.isdecimal() == BESIDE
        assert mail.status == base.TaskResultStatus.READY
        twice = double.enqueue(4)
        tried = attempts.enqueue(text="hm")
        failing = fail.enqueue()
    assert confirm.get_result(mail.id).status == base.TaskResultStatus.READY
    raises(ValueError, lambda: mail.return_value, "not finished")
    work()
    for result in (mail, twice, tried, failing):
        result.refresh()
    assert (mail.status, mail.return_value) == (base.TaskResultStatus.SUCCESSFUL, "thanks, ana")
    assert mail.args == [order.id]
    assert mail.attempts == 1
    assert mail.enqueued_at <= mail.started_at <= mail.finished_at
    assert twice.return_value == 8
    assert tried.return_value == [1, "hm"]
    assert tried.kwargs == {"text": "hm"}
    assert failing.status == base.TaskResultStatus.FAILED
    [error] = failing.errors
    assert error.exception_class is ValueError
    assert "no such luck" in error.traceback
    raises(ValueError, lambda: failing.return_value, "failed")
    assert [name for name, task in told if task == "confirm"] == ["task_enqueued", "task_started", "task_finished"]
    assert [name for name, task in told if task == "fail"] == ["task_enqueued", "task_started", "task_finished"]
    assert asyncio.run(confirm.aget_result(mail.id)).return_value == "thanks, ana"
    raises(exceptions.TaskResultDoesNotExist, lambda: confirm.get_result("987654"))
    raises(exceptions.TaskResultDoesNotExist, lambda: confirm.get_result("outbox-none"))
    raises(exceptions.TaskResultDoesNotExist, lambda: confirm.get_result("../etc"))
    raises(exceptions.TaskResultMismatch, lambda: fail.get_result(mail.id))


def check_transactions() -> None:
    def broken() -> None:
        with transaction.atomic():
            gone.append(confirm.enqueue(1))
            raise ZeroDivisionError

    gone: list[Any] = []
    raises(ZeroDivisionError, broken)
    raises(exceptions.TaskResultDoesNotExist, gone[0].refresh)
    with transaction.atomic():
        outer = double.enqueue(1)
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            gone.append(double.enqueue(2))
            raise ZeroDivisionError
        last = double.enqueue(3)
    raises(exceptions.TaskResultDoesNotExist, gone[1].refresh)
    work()
    for result, value in ((outer, 2), (last, 6)):
        result.refresh()
        assert result.return_value == value
    # Outside of a transaction it is stored when enqueue returns.
    alone = double.enqueue(21)
    assert alone.id.isdecimal()
    work()
    alone.refresh()
    assert alone.return_value == 42
    raises(ConfigurationError, _enqueue_outside, "atomic")
    # A connection that commits when told to has a transaction all the time.
    assert not in_transaction(connection)
    transaction.set_autocommit(False)
    try:
        assert in_transaction(connection)
        gone.append(double.enqueue(5))
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    raises(exceptions.TaskResultDoesNotExist, gone[2].refresh)


def _enqueue_outside() -> None:
    app = roost.App(os.environ["ROOST_URL"])
    with roost.outbox(using="default") as tx:
        tx.enqueue(app.job(_nothing, name="nothing"))


def _nothing() -> None:
    """A job that does nothing."""


def check_options() -> None:
    backend = tasks.task_backends["default"]
    assert isinstance(backend, RoostBackend)
    jobs = backend.app.sync_client.jobs
    at = datetime.now(UTC) + timedelta(hours=3)
    later = confirm.using(run_after=at, priority=-60, queue_name="default").enqueue(7)
    job = jobs.get(int(later.id))
    assert (job.state, job.queue, job.priority, job.kind) == (
        "waiting", "default", 2, "examples.django_app.shop.tasks.confirm",
    )  # fmt: skip
    assert job.run_at is not None
    assert abs(datetime.fromisoformat(job.run_at) - at) < timedelta(milliseconds=1)
    assert job.retry == roost.RetryRule(retries=0)
    found = confirm.get_result(later.id).task
    assert (found.queue_name, found.priority, found.run_after) == ("default", -60, at)
    jobs.move(job.id, queue="elsewhere")
    assert confirm.get_result(later.id).task.queue_name == "mail"
    jobs.cancel(job.id)
    later.refresh()
    assert later.status == base.TaskResultStatus.FAILED
    levels = [priority(value) for value in range(-100, 101)]
    assert levels == sorted(levels)
    assert set(levels) == set(range(10))
    raises(Exception, lambda: confirm.using(queue_name="nowhere"), "nowhere")
    raises(ConfigurationError, lambda: RoostBackend("x", {"OPTIONS": {"urll": ""}}), "urll")
    # What is no JSON is refused as Django says, and nothing is stored.
    newest = max(one.id for one in jobs.list().jobs)
    raises(TypeError, lambda: double.enqueue(at))
    raises(TypeError, lambda: double.enqueue(number=object()))
    assert max(one.id for one in jobs.list().jobs) == newest
    assert double.enqueue((1, {"two": b"three"})).args == [[1, {"two": "three"}]]
    raises(exceptions.TaskResultDoesNotExist, lambda: confirm.get_result("9" * 40))
    # Without the name of a class the error's class is Roost's own.
    died = ErrorInfo(type="WorkerLost", message="the worker is gone")
    assert _error(died).exception_class is roost.JobFailed
    # Whoever can enqueue cannot have anything else run, or imported.
    for kind in ("os.system", "examples.django_app.shop.models.Order", "examples.django_app.demo.main"):
        raises(roost.errors.NotFound, lambda kind=kind: backend.task_of(kind))


def check_other_functions() -> None:
    """Jobs that are no tasks of Django's, in its transactions."""
    app = roost.App(os.environ["ROOST_URL"])
    job = app.job(_nothing, name="nothing")
    with transaction.atomic(), roost.outbox(using="default") as tx:
        posted = tx.enqueue_many(job, [(), ()])
    assert all((one.id is not None) == BESIDE for one in posted)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM roost_outbox")
        assert cursor.fetchone()[0] >= (0 if BESIDE else 2)
    app.close()


def main() -> None:
    """All checks, one after the other."""
    call_command("migrate", verbosity=0)
    check_results()
    check_transactions()
    check_options()
    check_other_functions()
    call_command("migrate", "roost", "zero", verbosity=0)
    tasks.task_backends["default"].app.close()
    assert [thread.name for thread in threading.enumerate() if thread.name == "roost-relay"] == []
    print("all well")
