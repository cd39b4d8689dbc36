"""An application's way to its jobs: one client for event loops and one for everything else, opened when first used."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from roost.sdk.patience import Patience

if TYPE_CHECKING:
    from roost.sdk._async.client import AsyncClient
    from roost.sdk._sync.client import Client


class Connection:
    """Both clients of one URL; may be shared by threads and event loops."""

    def __init__(
        self,
        find_url: Callable[[], str],
        *,
        timeout: float = 30.0,
        patience: Patience | None = None,
        store: Any = None,
    ) -> None:
        """``store`` is a `roost.embedded.Embedded` that is open already, to be given back by this connection."""
        self._find_url = find_url
        self._timeout = timeout
        self._patience = patience
        self._url: str | None = None
        self._store = store
        self._async: AsyncClient | None = None
        self._sync: Client | None = None
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """Where the jobs are; raises `ConfigurationError` where that is not to be found."""
        if self._url is None:
            self._url = self._find_url()
        return self._url

    @property
    def asynchronous(self) -> AsyncClient:
        """For code on an event loop."""
        return self._async or self._open_async()

    @property
    def synchronous(self) -> Client:
        """For code without one."""
        return self._sync or self._open_sync()

    @property
    def store(self) -> Any:
        """The store in this process (`roost.embedded.Embedded`), or None where a server has it."""
        if self._store is None and is_store(self.url):
            with self._lock:
                if self._store is None:
                    # By name: the SDK knows no store; whoever asks for one in this process gets it loaded here.
                    self._store = importlib.import_module("roost.embedded").Embedded.open(self.url)
        return self._store

    async def start_loops(self) -> None:
        """Where the store is in this process, see to it that its background loops run; a server has its own."""
        if self.store is not None:
            await self.store.start_loops()

    async def aclose(self) -> None:
        """Give both clients and the store back; the next use opens them again."""
        client, self._async = self._async, None
        if client is not None:
            await client.aclose()
        self._close_sync()

    def close(self) -> None:
        """`aclose` where no event loop runs."""
        if self._async is None:
            self._close_sync()
        else:
            import asyncio

            asyncio.run(self.aclose())

    def _close_sync(self) -> None:
        client, self._sync = self._sync, None
        if client is not None:
            client.close()
        store, self._store = self._store, None
        if store is not None:
            store.release()

    def _open_async(self) -> AsyncClient:
        from roost.sdk._async.client import AsyncClient

        with self._lock:
            if self._async is None:
                if self.store is None:
                    self._async = AsyncClient.connect(self.url, timeout=self._timeout, patience=self._patience)
                else:
                    self._async = AsyncClient(self.store.async_transport(), patience=self._patience)
            return self._async

    def _open_sync(self) -> Client:
        from roost.sdk._sync.client import Client

        with self._lock:
            if self._sync is None:
                if self.store is None:
                    self._sync = Client.connect(self.url, timeout=self._timeout, patience=self._patience)
                else:
                    self._sync = Client(self.store.transport(), patience=self._patience)
            return self._sync


def is_store(url: str) -> bool:
    """Whether ``url`` names a store to be opened in this process."""
    return url.partition(":")[0] in ("sqlite", "postgresql", "postgres")
