"""Start a server, and end it: nothing acknowledged is lost, nothing waited for is left hanging."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from roost.domain.admission import SAVED_LIMIT
from roost.domain.duration import parse_duration
from roost.engine.opening import open_store
from roost.errors import ConfigurationError
from roost.server.app import App
from roost.server.guard import Limits
from roost.server.hosts import Hosts
from roost.server.listener import Listener, bind, url_of
from roost.server.pages import pages
from roost.server.settings import Settings, check_exposure
from roost.server.streaming import Streams
from roost.service.clock import SystemClock
from roost.service.ids import SystemIds, system_rng
from roost.service.runtime import Runtime, RuntimeSettings

log = logging.getLogger("roost.server")

_AROUND_PAYLOAD = 256 * 1024
EXIT_FORCED = 1
EXIT_STORE_FAILED = 70


class Stop:
    """The wish to end: ``begin`` drains, ``begin`` again ends at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.now = asyncio.Event()

    def begin(self) -> None:
        """Ask once, or insist."""
        if self.asked.is_set():
            self.now.set()
        self.asked.set()


async def serve(
    settings: Settings, *, ready: Callable[[str], None] | None = None, stop: Stop | None = None, version: str = ""
) -> int:
    """Serve until a signal or ``stop``; the exit code: 0 drained, 1 forced, 70 the store failed.

    After another code than 0 the store is still open and threads may be stuck in it: end the process, as `run` does.
    ``ready`` is called with the URL once requests are answered. Raises `ConfigurationError` for settings that cannot be
    used, and what `open_store` raises.
    """
    check_exposure(settings)
    bound = bind(settings.host, settings.port)
    try:
        store = open_store(settings.store, "server", rng=system_rng)
    except BaseException:
        bound.close()
        raise
    ids, url = SystemIds(), url_of(bound)
    runtime = Runtime(
        store,
        clock=SystemClock(),
        ids=ids,
        rng=system_rng,
        host=settings.writer,
        settings=RuntimeSettings(
            payload_limit=settings.payload_limit,
            retention_ms=parse_duration(settings.retention, path="retention"),
            retention_failed_ms=parse_duration(settings.retention_failed, path="retention_failed"),
            webhook_allow=settings.webhook_allow,
            webhook_seconds=parse_duration(settings.webhook_timeout, path="webhook_timeout") / 1000,
            feed_retention_ms=parse_duration(settings.feed_retention, path="feed_retention"),
        ),
        version=version,
        url=url,
    )
    hosts = Hosts(settings.host, bound.getsockname()[1], settings.allowed_hosts)
    streams = Streams(runtime, settings.limits.streams)
    app = App(runtime, hosts=hosts, ids=ids, pages=pages(version), streams=streams)
    listener = Listener(app, bound, roomy(settings.limits, settings.payload_limit))
    stop = stop or Stop()
    code = 0
    try:
        with _signals(stop):
            await runtime.start()
            await listener.start()
            store.publish_url(url)
            if settings.port_file is not None:
                _write_port_file(Path(settings.port_file), url)
            log.info("listening on %s, store %s (%s)", url, store.info.location, store.info.durability)
            if ready is not None:
                ready(url)
            await _first(stop.asked, runtime.fatal)
            code = await _drain(runtime, listener, stop, parse_duration(settings.grace, path="grace") / 1000)
    finally:
        listener.abort()
        bound.close()
        if code == 0:
            # otherwise a thread may be stuck in the store, and waiting for it would be for ever: the process must end
            await runtime.stop()
            store.close()
    return code


def roomy(limits: Limits, payload_limit: int) -> Limits:
    """Limits whose bodies hold one payload of the largest size, or a step with a state blob, and what is around it."""
    largest = max(payload_limit, 2 * SAVED_LIMIT) + _AROUND_PAYLOAD
    return msgspec.structs.replace(
        limits, body_bytes=max(limits.body_bytes, largest), bulk_bytes=max(limits.bulk_bytes, largest)
    )


async def _drain(runtime: Runtime, listener: Listener, stop: Stop, grace: float) -> int:
    """Stop accepting, let waiting claims go with nothing, answer what was accepted, stop the runtime."""

    if runtime.fatal.is_set():
        log.critical("the store failed: ending without another acknowledgement")
        return EXIT_STORE_FAILED

    async def orderly() -> None:
        listener.close()
        await runtime.quiesce()
        await listener.finished()
        await runtime.stop()

    work = asyncio.ensure_future(orderly())
    insisted = asyncio.ensure_future(stop.now.wait())
    fatal = asyncio.ensure_future(runtime.fatal.wait())
    try:
        await asyncio.wait((work, insisted, fatal), timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return 0
        if fatal.done():
            return EXIT_STORE_FAILED
        log.error("ending now: %s", "asked again" if insisted.done() else f"not drained within {grace:g} s")
        return EXIT_FORCED
    finally:
        for task in (work, insisted, fatal):
            task.cancel()


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


@contextlib.contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT mean ``stop.begin``; only the main thread can hear them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.begin)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _write_port_file(path: Path, url: str) -> None:
    """Whole or not at all: somebody is waiting to read it."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.write_text(url + "\n")
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", path="port_file") from None


def run(settings: Settings, *, ready: Callable[[str], None] | None = None, version: str = "") -> int:
    """`serve` on a new uvloop loop; ends the process itself where the exit is forced, as threads may be stuck."""
    runner = asyncio.Runner(loop_factory=_loop_factory())
    code = runner.run(serve(settings, ready=ready, version=version))
    if code != 0:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    runner.close()
    return code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop
