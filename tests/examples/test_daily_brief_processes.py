"""What the demonstration relies on: children are watched, killed and stopped by their id, and failures are told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from examples.daily_brief.processes import Child, DemoFailed, run, until

POLITE = "import time; print('ready', flush=True); time.sleep(60)"


async def start(code: str, folder: Path) -> Child:
    return await Child.start("child", [sys.executable, "-c", code], os.environ, folder)


async def test_a_child_is_stopped_when_asked(tmp_path: Path) -> None:
    child = await start(POLITE, tmp_path)
    await until("its first words", lambda: "ready" in child.tail(), 10, [child])
    assert await child.stop()
    assert child.exit_code == -15


async def test_kill_is_kill_9(tmp_path: Path) -> None:
    child = await start(f"import signal; signal.signal(15, signal.SIG_IGN); {POLITE}", tmp_path)
    await until("its first words", lambda: "ready" in child.tail(), 10, [child])
    await child.kill()
    assert child.exit_code == -9
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


async def test_a_child_that_does_not_stop_is_killed_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.daily_brief.processes.STOP_SECONDS", 0.2)
    child = await start(f"import signal; signal.signal(15, signal.SIG_IGN); {POLITE}", tmp_path)
    await until("its first words", lambda: "ready" in child.tail(), 10, [child])
    assert not await child.stop()
    assert child.exit_code == -9


async def test_a_dead_child_ends_the_waiting_with_its_last_words(tmp_path: Path) -> None:
    child = await start("raise SystemExit('no such store')", tmp_path)
    with pytest.raises(DemoFailed, match=r"the child ended with 1:\nno such store"):
        await until("the impossible", lambda: None, 10, [child])


async def test_waiting_has_an_end(tmp_path: Path) -> None:
    child = await start(POLITE, tmp_path)
    with pytest.raises(DemoFailed, match=r"the impossible: not within 0\.1 s"):
        await until("the impossible", lambda: False, 0.1, [child])
    assert await child.stop()


async def test_a_failed_command_tells_why() -> None:
    assert await run([sys.executable, "-c", "print(41 + 1)"], os.environ) == "42\n"
    with pytest.raises(DemoFailed, match=r"(?s)ended with 3:.*broken"):
        await run([sys.executable, "-c", "import sys; print('broken', file=sys.stderr); sys.exit(3)"], os.environ)
    with pytest.raises(DemoFailed, match=r"did not end within 0\.2 s"):
        await run([sys.executable, "-c", POLITE], os.environ, seconds=0.2)
