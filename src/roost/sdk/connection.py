"""An application's way to its jobs: one client for event loops and one for everything else, opened when first used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from roost.sdk.patience import Patience

if TYPE_CHECKING:
    from roost.sdk._async.client import AsyncClient
    from roost.sdk._sync.client import Client


@runtime_checkable
class LoopHost(Protocol):
    """A transport that reaches a store in this process, whose background loops somebody must run."""

    async def start_loops(self) -> None:
        """Run them from now on: due jobs, lost leases, schedules, retention."""
        ...


class Connection:
    """Both clients of one URL; may be shared by threads and event loops."""

    def __init__(self, find_url: Callable[[], str], *, timeout: float, patience: Patience | None) -> None:
        self._find_url = find_url
        self._timeout = timeout
        self._patience = patience
        self._url: str | None = None
        self._async: AsyncClient | None = None
        self._sync: Client | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where the jobs are; raises `ConfigurationError` where that is not to be found."""
        if self._url is None:
            self._url = self._find_url()
        return self._url

    @property
    def asynchronous(self) -> AsyncClient:
        """For code on an event loop."""
        if self._async is None:
            from roost.sdk._async.client import AsyncClient

            with self._lock:
                if self._async is None:
                    self._async = AsyncClient.connect(self.url, timeout=self._timeout, patience=self._patience)
        return self._async

    @property
    def synchronous(self) -> Client:
        """For code without one."""
        if self._sync is None:
            from roost.sdk._sync.client import Client

            with self._lock:
                if self._sync is None:
                    self._sync = Client.connect(self.url, timeout=self._timeout, patience=self._patience)
        return self._sync

    async def start_loops(self) -> None:
        """Where the store is in this process, see to it that its background loops run; a server has its own."""
        transport = self.asynchronous.transport
        if isinstance(transport, LoopHost):
            await transport.start_loops()

    async def aclose(self) -> None:
        """Give both clients back; the next use opens them again."""
        client, self._async = self._async, None
        if client is not None:
            await client.aclose()
        self.close_sync()

    def close_sync(self) -> None:
        """Give back the client of code without an event loop."""
        client, self._sync = self._sync, None
        if client is not None:
            client.close()
