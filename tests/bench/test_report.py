"""What a run reports: ratios, tables, files, and the command around them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from roost.bench import report
from roost.bench.figures import FIGURES
from roost.bench.main import command
from roost.errors import ConfigurationError


def a_report(**figures: float) -> report.Report:
    machine = report.Machine(cores=2, fsync_p50_ms=0.1, python="3", system="x", load_before=0)
    made = report.Report(
        version="1", engine="sqlite", engine_version="3", durability="safe", taken_at="", mode="quick", machine=machine
    )
    made.add({name.replace("_", ".", 1): value for name, value in figures.items()}, {})
    return made


def test_ratios_say_how_many_times_better() -> None:
    assert FIGURES["bulk.rate"].ratio(300, 100) == 3
    assert FIGURES["latency.p50"].ratio(4, 2) == 0.5
    assert FIGURES["latency.p50"].ratio(0, 2) is None


def test_repetitions_become_their_median() -> None:
    found = a_report(bulk_rate=10)
    found.add({"bulk.rate": 30}, {"bulk.rate": "noted"})
    found.add({"bulk.rate": 20}, {})
    reached = found.figures["bulk.rate"]
    assert (reached.value, reached.runs, reached.note, reached.target) == (20, [10, 30, 20], "noted", 150_000)


def test_the_table_marks_what_was_missed_and_compares() -> None:
    lines = report.table(a_report(bulk_rate=300_000, latency_p50=4), a_report(bulk_rate=100_000, latency_p50=8))
    bulk = next(line for line in lines.splitlines() if line.startswith("bulk"))
    latency = next(line for line in lines.splitlines() if line.startswith("enqueue to handler start, idle server: p50"))
    assert bulk.split()[-5:] == ["150,000", "300,000", "jobs/s", "2.00", "3.00x"]
    assert latency.split()[-5:] == ["4.00", "ms", "0.50", "MISSED", "2.00x"]


def test_a_saved_run_is_read_again(tmp_path: Path) -> None:
    found = a_report(bulk_rate=5)
    report.save(found, tmp_path / "new" / "run.json")
    assert report.load(tmp_path / "new" / "run.json") == found


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="no saved run"):
        report.load(tmp_path / "run.json")


def test_the_command_measures_saves_and_compares(tmp_path: Path) -> None:
    saved = tmp_path / "run.json"
    asked = ["--quick", "--jobs", "100", "--only", "bulk"]
    first = CliRunner().invoke(command, [*asked, "-o", "json", "--save", str(saved)])
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout) == json.loads(saved.read_text())
    assert report.load(saved).figures["bulk.rate"].value > 0
    second = CliRunner().invoke(command, [*asked, "--compare", str(saved)])
    assert second.exit_code == 0, second.output
    assert second.stdout.splitlines()[0].split() == ["measure", "target", "reached", "unit", "ratio", "against"]
