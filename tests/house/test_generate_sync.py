"""The synchronous SDK is what the generator makes of the asynchronous one."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import check_generated, generate_sync

SOURCE = '''\
"""Jobs over the network.

In short:

    job = await client.enqueue("mail")
    async with AsyncClient() as client: ...
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from collections.abc import AsyncIterator

from roost.sdk._async.transport import AsyncTransport, _AsyncPool


class AsyncClient:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def result(self, id: str) -> bytes:
        async with self._lock:
            await asyncio.sleep(0.5)
            # callers await the answer for as long as they like
            return await (
                self._transport.send(f"await {await self.name(id)}")
            )

    async def all(self) -> AsyncIterator[int]:
        async for page in self._pages():
            yield page
        await self._transport.aclose()

    async def _pages(self): return [x async for x in _AsyncPool() if await x.ready()]
'''

EXPECTED = '''\
# Generated from src/roost/sdk/_async/client.py by scripts/generate_sync.py; do not edit.
"""Jobs over the network.

In short:

    job = client.enqueue("mail")
    with Client() as client: ...
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from roost.sdk._sync.transport import Transport, _Pool


class Client:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()

    def __enter__(self) -> Client:
        return self

    def result(self, id: str) -> bytes:
        with self._lock:
            time.sleep(0.5)
            # callers await the answer for as long as they like
            return self._transport.send(f"await {self.name(id)}")

    def all(self) -> Iterator[int]:
        for page in self._pages():
            yield page
        self._transport.close()

    def _pages(self):
        return [x for x in _Pool() if x.ready()]
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / generate_sync.SOURCE
    folder.mkdir(parents=True)
    (folder / "client.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def test_makes_the_plain_form(project: Path) -> None:
    made = generate_sync.generated_files(project)
    assert list(made) == [generate_sync.TARGET / "client.py"]
    assert made[generate_sync.TARGET / "client.py"] == EXPECTED


def test_the_plain_form_is_python(project: Path) -> None:
    compile(generate_sync.generated_files(project)[generate_sync.TARGET / "client.py"], "client.py", "exec")


def test_refuses_what_has_no_counterpart() -> None:
    source = "import asyncio\n\n\nasync def both():\n    await asyncio.gather(one(), two())\n"
    with pytest.raises(generate_sync.NoCounterpart, match=r"^client\.py:5: asyncio\.gather has no counterpart"):
        generate_sync.to_sync(source, "client.py")


def test_refuses_names_taken_from_asyncio() -> None:
    with pytest.raises(generate_sync.NoCounterpart, match=r"^client\.py:1: this use of asyncio"):
        generate_sync.to_sync("from asyncio import sleep\n", "client.py")


def test_writes_and_then_finds_nothing_stale(project: Path) -> None:
    left_over = project / generate_sync.TARGET / "old.py"
    left_over.parent.mkdir(parents=True)
    left_over.write_text("gone = True\n", encoding="utf-8")
    assert len(check_generated.stale_files(project)) == 2
    generate_sync.main(project)
    assert not left_over.exists()
    assert check_generated.stale_files(project) == []


def test_finds_an_edited_file(project: Path) -> None:
    generate_sync.main(project)
    target = project / generate_sync.TARGET / "client.py"
    target.write_text(EXPECTED.replace("0.5", "0.7"), encoding="utf-8")
    (difference,) = check_generated.stale_files(project)
    assert "-            time.sleep(0.7)" in difference
    assert "+            time.sleep(0.5)" in difference
