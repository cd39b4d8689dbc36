"""Real server programs under test: never as root, and never alive longer than the program that started them."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The kernel sends the parent-death signal when the *thread* that started the child ends, so one thread starts them all
# and lives as long as the process does.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

UNPRIVILEGED_ACCOUNT = "postgres"


class ServerFailed(Exception):
    """A server program did not start, or did not stop; the message carries the end of its log."""


def unprivileged_account() -> pwd.struct_passwd | None:
    """The account to run servers as when this process is root (PostgreSQL refuses to run as root), else None."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(UNPRIVILEGED_ACCOUNT)
    except KeyError:
        raise ServerFailed(
            f"there is no account {UNPRIVILEGED_ACCOUNT!r}; `make setup` installs the packages that make it"
        ) from None


def as_unprivileged(command: Sequence[str]) -> list[str]:
    """`command` wrapped so that it runs without root's rights and ends when this process does, however that dies.

    SIGQUIT is "end now" to PostgreSQL and PgBouncer, and still lets PostgreSQL give its shared memory back.
    """
    wrapper = ["/usr/bin/setpriv", "--pdeathsig", "QUIT"]
    account = unprivileged_account()
    if account is not None:
        wrapper += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--reset-env"]
    return [*wrapper, "--", *command]


def make_directory(prefix: str) -> Path:
    """A new directory only the server's account (and root) may enter; remove it with `remove_directory`."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    account = unprivileged_account()
    if account is not None:
        closed = [parent for parent in directory.parents if not parent.stat().st_mode & 0o001]
        if closed:
            directory.rmdir()
            raise ServerFailed(
                f"account {account.pw_name!r} may not enter {closed[0]}; set TMPDIR to a directory it may"
            )
        os.chown(directory, account.pw_uid, account.pw_gid)
    return directory


def remove_directory(directory: Path) -> None:
    """Removes the directory and all in it; a missing one is fine."""
    shutil.rmtree(directory, ignore_errors=True)


def run(command: Sequence[str]) -> None:
    """Runs `command` to its end as the server's account; raises ServerFailed with its output."""
    result = subprocess.run(as_unprivileged(command), capture_output=True, text=True, check=False, cwd="/")
    if result.returncode != 0:
        raise ServerFailed(f"{command[0]} ended with {result.returncode}:\n{result.stdout}{result.stderr}")


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Starts `command`, its output appended to `log`, in its own process group: a terminal's Ctrl-C is the caller's."""

    def spawn() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                as_unprivileged(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=None if environment is None else {**os.environ, **environment},
                process_group=0,
            )

    return _spawner.submit(spawn).result()


def wait_until_ready(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool], seconds: float) -> None:
    """Returns once `ready()` is true; raises ServerFailed when the process ends or the time is over first."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise ServerFailed(f"ended with {process.returncode} while starting:\n{tail(log)}")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise ServerFailed(f"not ready after {seconds} s:\n{tail(log)}")
        time.sleep(0.01)


def stop(process: subprocess.Popen[bytes], number: signal.Signals, seconds: float) -> bool:
    """Asks the process to end; kills it and its children after `seconds`. True when it ended by itself."""
    if process.poll() is not None:
        return True
    process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        return False
    return True


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and its children with SIGKILL, as a crash of the machine would; returns when all are gone."""
    if process.poll() is not None:
        return
    # stopped first, so that it can neither start more children nor see the others die
    process.send_signal(signal.SIGSTOP)
    # held open, so that a number given to another process meanwhile is never signalled
    handles = [handle for child in _children(process.pid) if (handle := _open_pid(child)) is not None]
    process.kill()
    process.wait()
    for handle in handles:
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _wait_for_end(handle)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tail(log: Path, characters: int = 4000) -> str:
    """The end of a log file, empty when there is none."""
    return log.read_text(errors="replace")[-characters:] if log.exists() else ""


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in tasks.read_text().split()]
    return found


def _open_pid(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _wait_for_end(handle: int) -> None:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    if not poller.poll(10_000):
        raise ServerFailed("a killed process is still there after 10 s")
