"""``python -m examples.pipeline``: the pipeline, first in this process, then on a server."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from examples.daily_brief.processes import Child, DemoFailed, roost_command, until
from examples.pipeline import demo
from examples.pipeline.jobs import app
from roost.cli.main import main as roost_main
from roost.sdk.connection import Connection

START_SECONDS = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.pipeline", description=__doc__)
    parser.add_argument("where", nargs="?", choices=["embedded", "server", "both"], default="both")
    parser.add_argument("--store", metavar="URL", help="an empty store; else SQLite files that are removed again")
    wanted = parser.parse_args()
    places = ["embedded", "server"] if wanted.where == "both" else [wanted.where]
    try:
        for place in places:
            with tempfile.TemporaryDirectory(prefix="roost-pipeline-") as folder:
                store = wanted.store or f"sqlite:///{folder}/{place}.db"
                print(f"==== {place}, {store.partition(':')[0]}")
                asyncio.run(run(place, store, Path(folder)))
    except (demo.PipelineFailed, DemoFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print("all stages as promised")
    return 0


async def run(place: str, store: str, folder: Path) -> None:
    if place == "embedded":
        await at(store)
        return
    async with serving(store, folder) as url:
        await at(url)


async def at(url: str) -> None:
    def show(*words: str) -> None:
        print(f"$ roost {' '.join(words)}", flush=True)
        try:
            # The command line itself, in this process: it shares the store that is open here.
            roost_main.main(["--url", url, *words])
        except SystemExit as ended:
            if ended.code:
                raise demo.PipelineFailed(f"roost {' '.join(words)} ended with {ended.code}") from None

    with app.connected_to(Connection(lambda: url)):
        try:
            await demo.run(show)
        finally:
            await app.aclose()


@asynccontextmanager
async def serving(store: str, folder: Path) -> AsyncIterator[str]:
    address = folder / "address"
    command = roost_command("server", "--store", store, "--port", "0", "--port-file", str(address))
    server = await Child.start("server", command, os.environ, folder)
    try:
        yield await until(
            "the server's address",
            lambda: address.read_text().strip() if address.exists() else None,
            START_SECONDS,
            [server],
        )
    finally:
        await server.stop()


if __name__ == "__main__":
    sys.exit(main())
