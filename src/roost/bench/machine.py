"""What the machine tells of itself and of a process: cores, disk, CPU time, memory, bytes written."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from roost.bench.report import Machine

_TICKS = os.sysconf("SC_CLK_TCK")
_PROBES = 60


def describe(folder: Path) -> Machine:
    """The machine, with the disk that ``folder`` is on."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        fsync_p50_ms=fsync_p50_ms(folder),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        load_before=os.getloadavg()[0],
    )


def fsync_p50_ms(folder: Path) -> float:
    """What one small durable write costs there: the floor of every commit."""
    page = bytes(4096)
    taken = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_PROBES):
            began = time.perf_counter()
            file.write(page)
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time that the process and its descendants have used."""
    total = 0.0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def resident_bytes(pid: int) -> int:
    """Memory of the process and its descendants that is theirs alone or their share of what they share."""
    return sum(_field(each, "smaps_rollup", "Pss") for each in family(pid)) * 1024


def written_bytes(pid: int) -> int:
    """Bytes that the process and its descendants sent to disk."""
    return sum(_field(each, "io", "write_bytes") for each in family(pid))


def _field(pid: int, file: str, name: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
