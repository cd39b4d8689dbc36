"""Power cuts on SQLite: ``python -m tests.chaos.powercut --cuts 500 --output bench/reliability/powercut.json``.

A real store does mixed work on a disk that keeps what was synced and, by chance, parts of the rest. At random moments
its content as after a power cut is taken, opened with the real store, and compared with what every commit had left.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import apsw

from roost.engine.sqlite.connection import register_checksums
from roost.engine.sqlite.store import SqliteStore
from roost.errors import RoostError
from tests.chaos.checkers import Recovery, power_cut
from tests.chaos.disk import Cut, Disk, DiskVFS, Mode
from tests.chaos.report import Report, told
from tests.chaos.workload import Repeat, Workload
from tests.conformance.bench import Bench, seeded

FILE = "roost.db"
COMMITS = 60
CUTS = 10
TICKS = 1500
"""About what a life's work writes; cuts are spread over it."""
REPEATED = 6
MODES: dict[Mode, int] = {"random": 8, "none": 1, "all": 1}


class Life:
    """One store from its start to its end, and the power cuts taken in between."""

    def __init__(self, vfs: DiskVFS, rng: random.Random, *, durable: bool, template: dict[str, bytes]) -> None:
        self.cuts: list[Cut] = []
        self.contents: dict[str, list[int]] = defaultdict(list)
        self.repeats: list[Repeat] = []
        self.acknowledged = 0
        with tempfile.TemporaryDirectory(prefix="roost-powercut-") as folder:
            for name, content in template.items():
                (Path(folder) / name).write_bytes(content)
            disk = Disk(Path(folder), self._tick)
            self._disk, self._rng = disk, rng
            vfs.disk = disk
            try:
                self._live(f"{folder}/{FILE}", durable)
            finally:
                vfs.disk = None

    def _tick(self, _: int) -> None:
        if self._rng.random() < CUTS / TICKS:
            self.cuts.append(self._disk.cut(self.acknowledged))

    def _live(self, path: str, durable: bool) -> None:
        store = SqliteStore(path, "server", seeded())
        if not durable:
            store._writer.pragma("synchronous", "NORMAL")
        # So that the log is copied back into the file many times in a short life.
        store._writer.pragma("wal_autocheckpoint", self._rng.choice([20, 60, 4000]))
        self.contents[content_of(store)].append(0)

        def committed() -> int:
            self.acknowledged += 1
            self.contents[content_of(store)].append(self.acknowledged)
            return self.acknowledged

        bench = Bench(store, store.engine())
        work = Workload(bench, self._rng, committed)
        while self.acknowledged < COMMITS:
            work.go_on()
        self.repeats = work.repeats
        self.now = bench.now
        store.close()
        self.ticks = self._disk.ticks


def content_of(store: SqliteStore) -> str:
    """A digest of every row of every table."""
    digest = hashlib.sha256()
    connection = store._writer
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    for (table,) in tables.fetchall():
        digest.update(repr(table).encode())
        for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608
            digest.update(repr(row).encode())
    return digest.hexdigest()


def recover(life: Life, cut: Cut, files: dict[str, bytes], rng: random.Random) -> Recovery:
    """Open what the cut left with the real store, look, and repeat some acknowledged calls."""
    with tempfile.TemporaryDirectory(prefix="roost-powercut-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            store = SqliteStore(f"{folder}/{FILE}", "server", seeded())
        except RoostError as error:
            return Recovery(cut.acknowledged, error.message, [], [])
        try:
            return _examine(store, life, cut, rng)
        except (RoostError, apsw.Error) as error:
            return Recovery(cut.acknowledged, str(error), [], [])
        finally:
            store.close()


def _examine(store: SqliteStore, life: Life, cut: Cut, rng: random.Random) -> Recovery:
    integrity: str = store._writer.execute("PRAGMA integrity_check").fetchone()[0]  # type: ignore[index]
    found = life.contents.get(content_of(store), [])
    repeats: list[tuple[str, object, object]] = []
    if found and max(found) >= cut.acknowledged:
        bench = Bench(store, store.engine(), now=life.now)
        known = [repeat for repeat in life.repeats if repeat.commit <= cut.acknowledged]
        chosen = rng.sample(known, min(REPEATED, len(known)))
        repeats = [(repeat.what, repeat.answer, repeat.call(bench)) for repeat in chosen]
    return Recovery(cut.acknowledged, integrity, found, repeats)


def template() -> dict[str, bytes]:
    """A migrated, empty store."""
    with tempfile.TemporaryDirectory(prefix="roost-powercut-") as folder:
        SqliteStore(f"{folder}/{FILE}", "server", seeded()).close()
        return {FILE: (Path(folder) / FILE).read_bytes()}


def recoveries(
    vfs: DiskVFS, cuts: int, seed: int, *, durable: bool, counts: Counter[str]
) -> Iterator[tuple[str, Recovery]]:
    """What was found after each of ``cuts`` power cuts, with the words to find it again."""
    migrated = template()
    number, done = 0, 0
    while done < cuts:
        rng = random.Random(f"{seed}/{number}")
        # Every tenth begins with an empty folder: the power may go while the store is being made.
        life = Life(vfs, rng, durable=durable, template=migrated if number % 10 else {})
        counts["commits"] += life.acknowledged
        counts["writes"] += life.ticks
        for index, cut in enumerate(life.cuts[: cuts - done]):
            mode: Mode = rng.choices(list(MODES), list(MODES.values()))[0]
            assert mode in get_args(Mode)
            yield f"life {number} cut {index} ({mode})", recover(life, cut, cut.image(mode, rng), rng)
            done += 1
        number += 1


def campaign(cuts: int, control: int, seed: int, output: Path | None) -> int:
    """Cut the power ``cuts`` times, and ``control`` times with a store that syncs too little; the exit code."""
    vfs = DiskVFS()
    register_checksums()
    report = Report("power cuts", seed, cuts=cuts, control=control, modes=MODES)
    counts: Counter[str] = Counter()
    lost = damaged = repeats = acknowledged = 0
    for where, recovery in recoveries(vfs, cuts, seed, durable=True, counts=counts):
        found = power_cut(recovery)
        report.violations += [f"{where}: {violation}" for violation in found]
        lost += any(violation.startswith("lost") for violation in found)
        damaged += any(violation.startswith(("damaged", "no prefix")) for violation in found)
        repeats += len(recovery.repeats)
        acknowledged += recovery.acknowledged
    report.counts = {
        "cuts": cuts, "with_loss": lost, "with_damage": damaged, "acknowledged_commits_looked_for": acknowledged,
        "calls_repeated": repeats, **counts,
    }  # fmt: skip
    control_lost = 0
    for where, recovery in recoveries(vfs, control, seed, durable=False, counts=Counter()):
        found = power_cut(recovery)
        control_lost += any(violation.startswith("lost") for violation in found)
        # Syncing too little may lose the last commits, but never anything in between, and never the file.
        report.violations += [f"control, {where}: {one}" for one in found if not one.startswith("lost")]
    report.counts |= {"control_cuts": control, "control_with_loss": control_lost}
    if control and not control_lost:
        report.violations.append("the control lost nothing: this harness cannot see a loss")
    return report.finish(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--control", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    return campaign(words.cuts, words.control, words.seed, words.output)


if __name__ == "__main__":
    sys.exit(told(main))
