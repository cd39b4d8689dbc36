"""``roost bench``: run the measures one after the other and print what was reached."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
import msgspec

from roost import __version__
from roost.bench import alone, large, machine, programs, report, traffic, workers
from roost.bench.stand import FULL, QUICK, NotMeasured, Stand, given_server, own_server, resized
from roost.errors import RoostError

MEASURES: dict[str, Callable[[Stand], dict[str, float]]] = {
    "idle": workers.idle,
    "latency": workers.latency,
    "single": traffic.single,
    "unary": traffic.unary,
    "bulk": traffic.bulk,
    "settle": traffic.settle,
    "life": traffic.life,
    "drain": workers.drain,
    "drain2": workers.drain2,
    "memory": programs.memory,
    "cli": programs.command_line,
    "import": programs.imports,
    "embedded": alone.embedded,
    "embedded-latency": alone.embedded_latency,
    "engine": alone.engine,
}
"""In this order: a server is idle only before it worked."""
LONG: dict[str, Callable[[Stand], dict[str, float]]] = {"backlog": large.backlog, "schedules": large.schedules}
"""Minutes each; taken only when named."""


@click.command("bench", epilog=f"Measures: {', '.join(MEASURES)}; only when named: {', '.join(LONG)}.")
@click.option("--url", metavar="URL", help="A running server; where not given, one is started on --store.")
@click.option(
    "--store",
    default="sqlite",
    metavar="URL",
    show_default=True,
    help="sqlite (a new file), sqlite:///…, postgresql://…",
)
@click.option("--writer", type=click.Choice(["thread", "process"]), help="As of roost server; else its own choice.")
@click.option("--only", multiple=True, type=click.Choice([*MEASURES, *LONG]), metavar="NAME", help="Only this measure.")
@click.option("--quick", is_flag=True, help="Half a minute instead of some: smaller sizes, rougher figures.")
@click.option("--jobs", type=click.IntRange(min=1), help="Jobs of each throughput measure.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Window of single requests and of idleness.")
@click.option("--backlog", type=click.IntRange(min=1), help="Waiting jobs of the measure backlog.")
@click.option("--retained", type=click.IntRange(min=0), help="Finished jobs that are kept beside them.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Take the median of so many.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How the run is printed.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Keep the run as JSON.")
@click.option(
    "--compare", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A saved run to set it against."
)
def command(
    url: str | None,
    store: str,
    writer: str | None,
    only: tuple[str, ...],
    quick: bool,
    jobs: int | None,
    seconds: float | None,
    backlog: int | None,
    retained: int | None,
    repeat: int,
    output: Literal["table", "json"],
    save: Path | None,
    compare: Path | None,
) -> None:
    """Measure throughput and latency against the targets, durability always on."""
    # A request to end must stop the server and the workers too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    other = report.load(compare) if compare else None
    sizes = resized(QUICK if quick else FULL, jobs=jobs, seconds=seconds, backlog=backlog, retained=retained)
    stands: AbstractContextManager[Stand] = given_server(url, sizes) if url else own_server(store, sizes, writer)
    with stands as stand:
        found = begin(stand, "quick" if quick else "full")
        measure(stand, found, [*(only or MEASURES)], repeat)
    if save:
        report.save(found, save)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        click.echo(report.table(found, other))
    if found.failures and not url:
        raise click.exceptions.Exit(1)


def begin(stand: Stand, mode: str) -> report.Report:
    """An empty report of the stand's server and of the machine."""
    info = stand.client.server.info()
    return report.Report(
        version=__version__,
        engine=stand.engine,
        engine_version=info.engine_version,
        durability=info.durability,
        taken_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        mode=mode,
        machine=machine.describe(stand.folder),
    )


def measure(stand: Stand, found: report.Report, names: list[str], repeat: int) -> None:
    """Take the named measures into ``found``; one that cannot be taken is reported, and the others go on."""
    known = MEASURES | LONG
    for place, name in enumerate(names, 1):
        for number in range(repeat):
            _progress(f"[{place}/{len(names)}] {name}" + (f" {number + 1}/{repeat}" if repeat > 1 else ""))
            try:
                found.add(known[name](stand), stand.notes)
            except NotMeasured as reason:
                found.failures[name] = str(reason)
                break
            except (RoostError, OSError, TimeoutError, ExceptionGroup) as error:
                found.failures[name] = f"{type(error).__name__}: {_first(error)}"
                break
    _progress("")


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _progress(text: str) -> None:
    """One line that changes, on a terminal; lines of their own elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{text}")
        sys.stderr.flush()
    elif text:
        click.echo(text, err=True)
