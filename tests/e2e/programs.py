"""Jobs for workers and handlers in processes of their own; what they do is written to a file."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import roost

app = roost.App("sqlite:////nowhere/at/all.db")


@app.job(name="programs.poison", isolate="process", retries=10, backoff="fixed", retry_base="1ms")
def poison(number: int, path: str) -> int:
    """Number 2 kills its process, until the file says that it is cured."""
    if number == 2 and not Path(path).exists():
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


@app.job(name="programs.deaf", isolate="process", retries=0)
def deaf(path: str) -> None:
    """Heeds neither a cancel nor a SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


@app.job(name="programs.deaf_in_time", isolate="process", retries=0, timeout="500ms")
def deaf_in_time(path: str) -> None:
    deaf(path)


@app.job(name="programs.two_steps", retries=0)
def two_steps(path: str, ctx: roost.SyncContext) -> list[str]:
    return [ctx.step("one", write, path, "one"), ctx.step("two", stay, path, "two")]


def write(path: str, word: str) -> str:
    with open(path, "a") as file:
        file.write(f"{word}\n")
    return word


def stay(path: str, word: str) -> str:
    """Takes long where it is called for the first time."""
    write(path, word)
    if Path(path).read_text().split().count(word) == 1:
        time.sleep(600)
    return word
