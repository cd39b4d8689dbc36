"""What a type checker sees of a user's program."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

from scripts.source_files import ROOT
from tests.docs.documents import DOCUMENTS, blocks

PROGRAM = """
import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

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

class Db:
    pass

def get_db() -> Iterator[Db]:
    yield Db()

@app.job(isolate="process", memory="256MB", limits=[roost.Rate("smtp", "100/m"), roost.Concurrency("t:{number}", 4)])
async def child(number: int, db: Annotated[Db, roost.Depends(get_db)] = roost.injected()) -> str:
    return str(number)

@app.job
async def parent(ctx: roost.Context = roost.injected()) -> list[str]:
    one = await ctx.spawn(child, 1)
    reveal_type(await one.result())  # str
    reveal_type(await ctx.wait_for([one]))  # list[str]
    reveal_type(await ctx.wait_for([one], return_failures=True))  # list[str | JobFailed]
    reveal_type(await ctx.wait("go", type=bool, timeout="1h"))  # bool
    reveal_type(await ctx.dependencies(int))  # list[int]
    reveal_type((await ctx.batch()).pending)  # int
    await ctx.results.append({"any": "thing"})
    await ctx.spawn(child, "1")  # error: arg-type
    return await ctx.wait_for(await ctx.spawn_many(child, [(1,), child.arguments(2)]))

@app.job
def sync_parent(ctx: roost.SyncContext = roost.injected()) -> str:
    reveal_type(ctx.wait_for([ctx.spawn(child, 1)]))  # list[str]
    reveal_type(ctx.wait("go"))  # Any
    return ctx.spawn(child, 1).result()

@app.around
async def timed(job: roost.RunningJob, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    reveal_type(job.arguments)  # dict[str, Any]
    return await call()

async def flow() -> None:
    reveal_type(child.call(1))  # JobCall[str]
    async with app.batch("b", on_success=parent.call()) as batch:
        reveal_type(await batch.add(child.call(1)))  # Handle[str]
        reveal_type(await batch.add_many([child.call(2)]))  # list[Handle[str]]
    reveal_type((await batch.wait()).succeeded)  # int
    chain = await app.chain(child.call(1), parent.call())
    reveal_type(chain)  # BatchHandle
    await child.options(after=[await plain.enqueue(), 7], after_failure="run", batch=chain, parent=7).enqueue(1)
    child.options(after_failure="never")  # error: arg-type
    child.call("1")  # error: arg-type

@app.schedule("0 8 * * *", tz="America/New_York")
async def morning() -> None:
    await brief.enqueue("ana")

async def main() -> None:
    handle = await welcome.enqueue(7, tenant="acme")
    reveal_type(await handle.result())  # list[str]
    reveal_type(handle.result_sync(timeout=3))  # list[str]
    reveal_type(await welcome.handle(handle.id).result())  # list[str]
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


def test_the_programs_of_the_documents_are_typed(tmp_path: Path) -> None:
    """As a reader would check them; the guides on HTTP and on tests are written without types."""
    names = []
    for document in DOCUMENTS:
        code = blocks(document.read_text(), "python")
        if code and document.stem not in ("http", "testing", "django"):
            file = tmp_path / f"guide_{document.stem.replace('-', '_')}.py"
            file.write_text("\n\n".join(code))
            names.append(str(file))
    said, broken, _ = api.run(["--strict", "--config-file", str(ROOT / "pyproject.toml"), *names])
    assert (broken, said) == ("", f"Success: no issues found in {len(names)} source files\n")
    assert len(names) >= 8


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
