"""The client over HTTP: against a real server, and against one that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import roost
from roost.errors import ConfigurationError, HoldDecided, InvalidRequest, NotFound, OutcomeUnknown, Unavailable
from roost.sdk._sync.http import HttpTransport
from roost.server.run import Stop, serve
from roost.server.settings import Settings
from roost.wire import contract
from roost.wire.jobs import NewJob


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server on a SQLite file, in a thread."""
    settings = Settings(port=0, store=f"sqlite:///{tmp_path_factory.mktemp('server')}/jobs.db")
    started: list[str] = []
    ready = threading.Event()
    stops: list[tuple[asyncio.AbstractEventLoop, Stop]] = []

    def tell(url: str) -> None:
        started.append(url)
        ready.set()

    async def main() -> None:
        stop = Stop()
        stops.append((asyncio.get_running_loop(), stop))
        await serve(settings, ready=tell, stop=stop)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(20)
    yield started[0]
    loop, stop = stops[0]
    loop.call_soon_threadsafe(stop.begin)
    thread.join(20)
    assert not thread.is_alive()


async def test_the_same_program_runs_against_a_server(server: str) -> None:
    app = roost.App(server)

    @app.job(name="http.add", queue="a/b:c")
    async def add(a: int, b: int = 2) -> int:
        return a + b

    handle = await add.enqueue(1)
    other = await asyncio.to_thread(add.enqueue_sync, 5)
    await app.run_worker(until="idle")
    assert await handle.result(timeout=5) == 3
    assert await asyncio.to_thread(other.result_sync, 5) == 7
    queue = await app.client.queues.pause("a/b:c", actor="me & you")
    assert (queue.paused, queue.paused_by) == (True, "me & you")
    page = await app.client.jobs.list(queue=["a/b:c"], kind=["http.add"], state=["succeeded", "failed"], limit=1)
    assert [job.id for job in page.jobs] == [other.id]
    assert page.cursor is not None
    rest = await app.client.jobs.list(
        queue=["a/b:c"], kind=["http.add"], state=["succeeded", "failed"], limit=1, cursor=page.cursor
    )
    assert [job.id for job in rest.jobs] == [handle.id]
    await app.aclose()


def test_every_kind_of_operation_has_its_way(server: str) -> None:
    with roost.Client.connect(server) as client:
        assert client.server.live().status == "ok"
        assert client.server.ready().status == "ok"
        assert client.server.info().engine == "sqlite"
        job = client.jobs.enqueue(NewJob(kind="held", hold=roost.HoldRule(title="May it?")))
        (hold,) = client.holds.list(job=job.id).holds
        with pytest.raises(InvalidRequest) as refused:
            client.holds.answer(hold.id, hold.subject_hash, float("nan"))
        assert refused.value.path == "answer"
        assert client.holds.extend(hold.id, "1h").deadline is not None
        assert client.holds.answer(hold.id, hold.subject_hash, {"say": "yes"}).state == "answered"
        with pytest.raises(HoldDecided):
            client.holds.deny(hold.id, hold.subject_hash)
        rule = roost.ScheduleRule(cron="0 8 * * *", zone="Europe/Berlin")
        assert client.schedules.put("daily", rule, NewJob(kind="x")).rule == rule
        assert len(client.schedules.preview("daily", count=3).fires) == 3
        assert client.schedules.run("daily").id > job.id
        assert [run.outcome for run in client.schedules.runs("daily").runs] == ["run_now"]
        client.schedules.delete("daily")
        with pytest.raises(NotFound):
            client.schedules.get("daily")
        assert client.jobs.cancel(job.id, note="enough").state is roost.State.CANCELLED
        assert client.jobs.reopen(job.id).state is roost.State.HELD
        assert {event.type for event in client.jobs.events(job.id)} > {"created"}
        assert client.jobs.explain(job.id).state is roost.State.HELD
        client.jobs.delete(job.id)


def test_an_operation_id_makes_a_call_happen_once(server: str) -> None:
    with roost.Client.connect(server) as client:
        job = NewJob(kind="once")
        ids = {client.jobs.enqueue(job, operation_id="op-1").id for _ in range(3)}
        assert len(ids) == 1
        with pytest.raises(roost.errors.OperationMismatch):
            client.jobs.enqueue(NewJob(kind="other"), operation_id="op-1")
        with pytest.raises(InvalidRequest, match="operation id"):
            client.jobs.enqueue(job, operation_id="x\r\nhost: evil")


def test_one_client_serves_many_event_loops_and_threads(server: str) -> None:
    app = roost.App(server)

    async def look() -> str:
        return (await app.client.server.info()).engine

    assert {asyncio.run(look()) for _ in range(3)} == {"sqlite"}
    threads = [threading.Thread(target=app.sync_client.server.info) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    app.close()


OK = b'HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{"later":[1],"id":7}'
"""Of a server that says more than this client knows."""


def problem(status: str, code: str, *headers: str) -> bytes:
    body = f'{{"error":{{"code":"{code}","message":"no","later":1}},"later":2}}'
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Scripted:
    """A server that answers each request with the next of ``answers``; b"" closes the connection instead."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = iter(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while request := connection.recv(65536):
                    self.requests.append(request.decode())
                    answer = next(self._answers, b"")
                    if not answer:
                        break
                    connection.sendall(answer)

    def operation_ids(self) -> list[str]:
        return [
            line.partition(": ")[2] for text in self.requests for line in text.split("\r\n") if "operation-id" in line
        ]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def scripted() -> Iterator[Callable[[list[bytes]], Scripted]]:
    made: list[Scripted] = []

    def make(answers: list[bytes]) -> Scripted:
        made.append(Scripted(answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


HICCUPS = [
    [problem("429 Too Many Requests", "overloaded", "retry-after: 0")],
    [problem("503 Service Unavailable", "unavailable")],
    [problem("503 Service Unavailable", "outcome_unknown")],
    [b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad"],
    [b""],
    [b"", b"", problem("503 Service Unavailable", "unavailable")],
]


@pytest.mark.parametrize("hiccups", HICCUPS)
def test_a_call_is_repeated_with_one_operation_id_until_it_is_answered(
    scripted: Callable[[list[bytes]], Scripted], hiccups: list[bytes]
) -> None:
    server = scripted([*hiccups, OK])
    with roost.Client.connect(server.url, patience=roost.Patience(seconds=5, base=0.01)) as client:
        assert client.jobs.enqueue(NewJob(kind="a")).id == 7
    assert len(server.requests) == len(hiccups) + 1
    assert len(server.operation_ids()) == len(server.requests)
    assert len(set(server.operation_ids())) == 1


@pytest.mark.parametrize("hiccups", HICCUPS)
async def test_the_asynchronous_client_does_the_same(
    scripted: Callable[[list[bytes]], Scripted], hiccups: list[bytes]
) -> None:
    server = scripted([*hiccups, OK])
    async with roost.AsyncClient.connect(server.url, patience=roost.Patience(seconds=5, base=0.01)) as client:
        assert (await client.jobs.enqueue(NewJob(kind="a"))).id == 7
    assert len(server.requests) == len(hiccups) + 1
    assert len(set(server.operation_ids())) == 1


def test_an_answer_is_not_asked_for_again(scripted: Callable[[list[bytes]], Scripted]) -> None:
    server = scripted([problem("409 Conflict", "unique_conflict")])
    with roost.Client.connect(server.url) as client, pytest.raises(roost.UniqueConflict):
        client.jobs.enqueue(NewJob(kind="a"))
    assert len(server.requests) == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced(scripted: Callable[[list[bytes]], Scripted]) -> None:
    server = scripted([OK, b"", OK])
    transport = HttpTransport(server.url)
    assert transport.send(contract.ENQUEUE, NewJob(kind="a"), "op").id == 7
    # The second request goes out on the kept connection, which breaks; a new one carries it.
    assert transport.send(contract.ENQUEUE, NewJob(kind="a"), "op").id == 7
    assert len(server.requests) == 3
    transport.close()


def test_patience_ends(scripted: Callable[[list[bytes]], Scripted]) -> None:
    server = scripted([problem("429 Too Many Requests", "overloaded", "retry-after: 60")])
    with roost.Client.connect(server.url, patience=roost.Patience(seconds=1)) as client:
        with pytest.raises(roost.errors.Overloaded) as refused:
            client.jobs.enqueue(NewJob(kind="a"))
        assert refused.value.retry_after == 60
    closed = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    closed.close()
    with roost.Client.connect(url, patience=roost.Patience(seconds=0)) as client, pytest.raises(Unavailable, match=url):
        client.server.info()


async def test_a_server_that_does_not_answer_leaves_the_outcome_unknown(sqlite_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        patience = roost.Patience(seconds=0)
        async with roost.AsyncClient.connect(url, timeout=0.1, patience=patience) as client:
            with pytest.raises(OutcomeUnknown, match=r"did not answer within 0\.1 s"):
                await client.jobs.enqueue(NewJob(kind="a"))
        with roost.Client.connect(url, timeout=0.1, patience=patience) as blocking, pytest.raises(OutcomeUnknown):
            blocking.jobs.enqueue(NewJob(kind="a"))


def test_what_is_no_roost_server_is_said(scripted: Callable[[list[bytes]], Scripted]) -> None:
    server = scripted([b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"])
    with roost.Client.connect(server.url, patience=roost.Patience(seconds=0)) as client:
        with pytest.raises(Unavailable, match="not HTTP"):
            client.server.info()
        with pytest.raises(ConfigurationError, match="without a Roost error"):
            client.server.info()
    with pytest.raises(ConfigurationError):
        roost.Client.connect("http://")
