"""Handlers for processes of their own: importable, as such handlers have to be."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time

import roost
from roost.sdk.app import App

app = App("sqlite://:memory:")


@app.job(isolate="process")
def process_id() -> int:
    return os.getpid()


@app.job(isolate="process", retries=0)
def die(how: str) -> None:
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case _:
            os.kill(os.getpid(), signal.SIGKILL)


@app.job(isolate="process", retries=0, memory="120MB")
def eats(megabytes: int, path: str = "") -> int:
    """Takes memory bit by bit; with a path, in a process of its own that it starts."""
    if path:
        child = "import sys, time; held = bytearray(int(sys.argv[1]) * 10**6); time.sleep(60)"
        with open(path, "w") as file, subprocess.Popen([sys.executable, "-c", child, str(megabytes)]) as running:
            file.write(str(running.pid))
            file.flush()
            running.wait()
    held = []
    for _ in range(megabytes // 4):
        held.append(b"x" * 4_000_000)
        time.sleep(0.002)
    return len(held)


@app.job(isolate="process", retries=0)
def takes_and_dies(megabytes: int) -> None:
    held = b"x" * megabytes * 1_000_000
    os.kill(os.getpid(), len(held) and signal.SIGSEGV)


@app.job(isolate="process", retries=10, backoff="fixed", retry_base="1ms")
def poison(path: str) -> str:
    with open(path, "a") as file:
        file.write("tried\n")
    with open(path) as file:
        if len(file.read().split()) > 3:
            return "cured"
    os.kill(os.getpid(), signal.SIGSEGV)
    return "unreachable"


@app.job(isolate="process")
def leaves_a_child(path: str) -> None:
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {orphan.pid}")
    time.sleep(600)


def hog_interpreter(seconds: int) -> None:
    """Hold the interpreter's lock in a C call: `PyDLL` does not release it."""
    ctypes.PyDLL(None).sleep(seconds)


@app.job(isolate="process")
def hog(seconds: int) -> str:
    hog_interpreter(seconds)
    return "done"


@app.job(isolate="process", retries=0, timeout="300ms")
def stubborn(path: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    orphan, stray = subprocess.Popen(sleeping), subprocess.Popen(sleeping, start_new_session=True)
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {orphan.pid} {stray.pid}")
    hog_interpreter(600)


@app.job(isolate="process")
def until_cancelled(ctx: roost.SyncContext) -> None:
    ctx.progress(1)
    ctx.wait_cancelled()
    ctx.log("noticed")


@app.job(isolate="process", retries=1, retry_base="1ms")
def steps(path: str, ctx: roost.SyncContext) -> list[int]:
    first = ctx.step("first", note, path, 1)
    if ctx.attempt == 1:
        os._exit(9)
    return [first, ctx.step("second", note, path, 2)]


@app.job(isolate="process", retries=1, retry_base="1ms")
async def async_steps(path: str, ctx: roost.Context) -> list[int]:
    found = await ctx.map("each", note_async, [(path, 1), (path, 2)], concurrency=2)
    if ctx.attempt == 1:
        raise RuntimeError("again")
    ctx.save(found)
    return await ctx.saved(list[int]) or []


@app.job(isolate="process")
async def held(ctx: roost.Context) -> str:
    await ctx.sleep("1h")
    return (await ctx.approve("Go", show="on")).approved_by or ""


@app.job(isolate="process")
def prints() -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"unfinished")


@app.job(isolate="process")
def floods() -> str:
    line = b"x" * 1000 + b"\n"
    for _ in range(20_000):
        os.write(1, line)
    return "through"


@app.job(isolate="process", retries=0)
def unserialisable() -> object:
    return object()


@app.job(isolate="process")
async def sleeps(seconds: float) -> None:
    await asyncio.sleep(seconds)


@app.job(isolate="process")
def blocks(path: str) -> None:
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)


def note(path: str, number: int) -> int:
    with open(path, "a") as file:
        file.write(f"{number}\n")
    return number


async def note_async(item: tuple[str, int]) -> int:
    return note(*item)
