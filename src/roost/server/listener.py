"""The listening socket and the connections behind it: uvicorn's protocol, without uvicorn's loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from roost.errors import ConfigurationError
from roost.server.guard import Limits, guarded

Application = Callable[[Any, Any, Any], Awaitable[None]]

_LOOK_SECONDS = 0.02


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the first address of ``host``; raises `ConfigurationError` where that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"{host} is no address of this machine: {error.strerror}", path="host") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}",
            path="port",
            help="is another server running there? --port 0 takes a free port",
        ) from None
    bound.setblocking(False)
    return bound


def url_of(bound: socket.socket) -> str:
    """The URL that reaches ``bound`` from this machine."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Listener:
    """Serves an application on a bound socket."""

    def __init__(self, app: Application, bound: socket.socket, limits: Limits) -> None:
        self._bound = bound
        self._state = ServerState()
        self._config = Config(
            app,
            http=guarded(limits),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=max(1, round(limits.idle_seconds)),
        )
        self._server: asyncio.Server | None = None
        self._dating: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept connections from now on."""
        self._config.load()
        loop = asyncio.get_running_loop()
        protocol = self._config.http_protocol_class
        self._date()
        self._server = await loop.create_server(
            lambda: protocol(config=self._config, server_state=self._state, app_state={}, _loop=loop),  # type: ignore[call-arg]
            sock=self._bound,
            backlog=2048,
        )

    def close(self) -> None:
        """Accept no more; end idle connections at once, others with the reply they wait for."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def finished(self) -> None:
        """Return when every request is answered and every connection gone; call `close` first."""
        while self._state.connections or self._state.tasks:
            await asyncio.sleep(_LOOK_SECONDS)

    def abort(self) -> None:
        """End what is left, answered or not."""
        for connection in list(self._state.connections):
            connection.transport.abort()
        for task in list(self._state.tasks):
            task.cancel()
        self._stop_dating()

    def _date(self) -> None:
        # once a second is as fine as the header is
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._dating = asyncio.get_running_loop().call_later(1.0, self._date)

    def _stop_dating(self) -> None:
        if self._dating is not None:
            self._dating.cancel()
            self._dating = None
