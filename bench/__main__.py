"""``make bench``: `roost bench` on SQLite, then on a durable PostgreSQL of its own; with ``--store`` or ``--url`` once.

Each run is kept as ``bench/results/ENGINE.json`` and set against ``bench/baseline-ENGINE.json`` where there is one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from roost.bench.main import command
from roost.errors import RoostError
from tests.support.postgres import PostgresServer

HERE = Path(__file__).parent


def run(engine: str, store: str, arguments: list[str]) -> int:
    """One engine's run; the exit code of `roost bench`."""
    extra = ["--store", store]
    if "--save" not in arguments:
        extra += ["--save", str(HERE / "results" / f"{engine}.json")]
    baseline = HERE / f"baseline-{engine}.json"
    if "--compare" not in arguments and baseline.exists():
        extra += ["--compare", str(baseline)]
    print(f"== {engine}", file=sys.stderr)
    return call([*extra, *arguments])


def call(arguments: list[str]) -> int:
    """`roost bench` with these arguments; its exit code."""
    try:
        command.main(arguments, prog_name="bench")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except RoostError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1


def main(arguments: list[str]) -> int:
    """Both engines, or what the arguments say."""
    named = [argument.partition("=")[0] for argument in arguments]
    if "--url" in named or "--store" in named or "--help" in named:
        return call(arguments)
    code = run("sqlite", "sqlite", arguments)
    with PostgresServer(durable=True) as server:
        return run("postgresql", server.create_database(), arguments) or code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
