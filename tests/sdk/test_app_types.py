"""What a type checker sees of a user's program."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

PROGRAM = """
import asyncio
import roost

app = roost.App()

@app.job(queue="mail", retries=5, unique=roost.Unique("user"))
async def welcome(user: int, *, tenant: str) -> list[str]:
    return [tenant]

@app.job
def plain(text: str = "x") -> int:
    return len(text)

@app.job()
async def brief(user: str, ctx: roost.Context = roost.injected()) -> float:
    return await ctx.step("one", one, user)

async def one(user: str) -> float:
    return 1.0

@app.schedule("0 8 * * *", tz="America/New_York")
async def morning() -> None:
    await brief.enqueue("ana")

async def main() -> None:
    handle = await welcome.enqueue(7, tenant="acme")
    reveal_type(await handle.result())  # list[str]
    reveal_type(handle.result_sync(timeout=3))  # list[str]
    reveal_type(await welcome.options(delay="10m").enqueue(7, tenant="acme"))  # Handle[list[str]]
    reveal_type(await plain.enqueue())  # Handle[int]
    reveal_type(plain("y"))  # int
    reveal_type(await welcome(7, tenant="acme"))  # list[str]
    reveal_type((await brief.enqueue_many([("ana",), brief.arguments("ben")]))[0])  # Handle[float]
    reveal_type(morning.enqueue_sync())  # Handle[None]
    reveal_type(app.sync_client.jobs.get(7).state)  # State
    await welcome.enqueue("7", tenant="acme")  # error: arg-type
    await welcome.enqueue(7)  # error: call-arg
    welcome.options(dely="10m")  # error: call-arg
    roost.Handel  # error: attr-defined
"""


def test_enqueue_and_result_are_typed_like_the_function(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root = Path(__file__).parents[2]
    said, broken, _ = api.run(
        ["--strict", "--config-file", str(root / "pyproject.toml"), "--no-error-summary", str(program)]
    )
    assert broken == ""
    found: dict[int, list[str]] = {}
    for line, kind, text in re.findall(r"program\.py:(\d+): (note|error): (.*)", said):
        if kind == "note" and text.startswith("Revealed type is"):
            name = text.split('"')[1]
            found.setdefault(int(line), []).append(re.sub(r"\b(builtins|roost(\.\w+)*)\.", "", name))
        elif kind == "error":
            found.setdefault(int(line), []).append("error: " + text.rpartition("[")[2].rstrip("]"))
    lines = PROGRAM.splitlines()
    expected = {number: [line.partition("  # ")[2]] for number, line in enumerate(lines, 1) if "  # " in line}
    assert found == expected, said
