"""What a run found: kept as JSON, shown as a table, set against another run."""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec

from roost.bench.figures import FIGURES, EngineName
from roost.errors import ConfigurationError


class Machine(msgspec.Struct, kw_only=True):
    """What the figures were taken on: they compare only with figures of the same."""

    cores: int
    fsync_p50_ms: float
    """4 KiB written and synced, beside the store's file (or in the temporary directory)."""
    python: str
    system: str
    load_before: float
    """The machine's load average over the minute before the run."""


class Reached(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One figure: the median over the repetitions."""

    value: float
    runs: list[float]
    target: float | None = None
    note: str = ""


class Report(msgspec.Struct, kw_only=True):
    """A run; ``figures`` are by the names of `roost.bench.figures.FIGURES`."""

    version: str
    engine: EngineName
    engine_version: str
    durability: str
    taken_at: str
    mode: str
    machine: Machine
    figures: dict[str, Reached] = {}
    failures: dict[str, str] = {}
    """Measures that could not be taken, and why."""

    def add(self, found: dict[str, float], notes: dict[str, str]) -> None:
        """Take in one repetition of a measure."""
        for name, value in found.items():
            target = FIGURES[name].target(self.engine)
            reached = self.figures.setdefault(name, Reached(value=value, runs=[], target=target))
            reached.runs.append(value)
            reached.value = statistics.median(reached.runs)
            reached.note = notes.get(name, reached.note)


def save(report: Report, path: Path) -> None:
    """Write it as JSON for people to read and `load` to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def load(path: Path) -> Report:
    """A saved run; raises `ConfigurationError` where the file is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{path} is no saved run: {error}", help="save one with roost bench --save FILE"
        ) from None


def number(value: float) -> str:
    """A figure with the digits that mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(report: Report, other: Report | None) -> str:
    """The report as aligned text; with ``other``, a column of how many times better this run is."""
    head = ["measure", "target", "reached", "unit", "ratio"] + (["against"] if other else [])
    rows = [head, *(_row(report, name, other) for name in FIGURES if name in report.figures)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(head))]
    lines = ["  ".join(_cell(row, index, widths[index]) for index in range(len(head))).rstrip() for row in rows]
    machine = report.machine
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += [
        "",
        f"roost {report.version}, {report.engine} {report.engine_version}, {report.durability}, {report.mode} run",
        f"{machine.cores} cores ({machine.system}), fsync p50 {machine.fsync_p50_ms:.2f} ms, "
        f"Python {machine.python}, load before {machine.load_before:.2f}",
    ]
    lines += [f"{name}: {reached.note}" for name, reached in report.figures.items() if reached.note]
    lines += [f"not measured: {name}: {why}" for name, why in report.failures.items()]
    return "\n".join(lines)


def _row(report: Report, name: str, other: Report | None) -> list[str]:
    figure, reached = FIGURES[name], report.figures[name]
    sign = "<" if figure.lower_is_better else ">="
    row = [
        figure.label,
        "" if reached.target is None else f"{sign} {number(reached.target)}" if reached.target else "0",
        number(reached.value),
        figure.unit,
        _verdict(name, reached),
    ]
    if other:
        old = other.figures.get(name)
        ratio = None if old is None else figure.ratio(reached.value, old.value)
        row.append("" if ratio is None else f"{ratio:.2f}x")
    return row


def _verdict(name: str, reached: Reached) -> str:
    if reached.target is None:
        return ""
    ratio = FIGURES[name].ratio(reached.value, reached.target)
    if not reached.target:
        return "ok" if round(reached.value, 2) == 0 else "MISSED"
    if ratio is None:
        return "ok"
    return f"{ratio:.2f}" if ratio >= 1 else f"{ratio:.2f} MISSED"


def _cell(row: list[str], index: int, width: int) -> str:
    return row[index].ljust(width) if index in (0, 3, 4) else row[index].rjust(width)
