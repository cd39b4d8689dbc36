"""jq over whole jobs, in a child process that has little: time, memory, output; and no environment at all."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache

from roost.errors import InvalidRequest
from roost.service.core import Core
from roost.wire.codec import encode
from roost.wire.jobs import JobSummary

CPU_SECONDS = 0.2
"""Of its own time, of which jq 1.6 needs a quarter to begin, and a little more for each byte it is given: what else the
machine does takes nothing of it."""
BYTES_PER_SECOND = 10_000_000
WALL_SECONDS = 5.0
"""Where the machine has no time for it."""
MEMORY_BYTES = 64 * 1024 * 1024
OUTPUT_BYTES = 1024 * 1024
INPUT_BYTES = 16 * 1024 * 1024

# The limits are the child's own before jq takes its place; a program that fails on one job is the caller's fault. What
# it says goes into files, because only those have a limit; the timer outlives the exec, and counts finer than the
# system's limit of whole seconds.
_LAUNCH = (
    "import os, resource, signal, sys\n"
    "for name, limit in (('RLIMIT_AS', {memory}), ('RLIMIT_FSIZE', {output}), ('RLIMIT_CORE', 0),"
    " ('RLIMIT_NOFILE', 16)):\n"
    "    resource.setrlimit(getattr(resource, name), (limit, limit))\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
    "signal.setitimer(signal.ITIMER_PROF, {cpu})\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


@cache
def _program() -> str | None:
    return shutil.which("jq")


async def by_jq(core: Core, program: str, jobs: list[JobSummary]) -> list[JobSummary]:
    """Those of ``jobs`` for whose whole JSON the program's first value is neither false nor null.

    Raises `InvalidRequest` for a program that is wrong, or takes more than its time, memory or output.
    """
    path = _program()
    if path is None:
        raise InvalidRequest(
            "this server has no jq", path="jq", help="install jq on it, or use the query language alone"
        )
    if not jobs:
        return []
    lines = bytearray()
    for job in jobs:
        lines += encode(await core.read(core.reader.job, job.id)) + b"\n"
        if len(lines) > INPUT_BYTES:
            raise InvalidRequest("the jobs are too large for jq", path="jq", help="ask for fewer with limit")
    # One line for each job, whatever the program gives: the first value, or that there is none.
    whole = f"[first({program}\n)] | if length > 0 and .[0] then 1 else 0 end"
    answers = await asyncio.to_thread(_run, path, whole, bytes(lines))
    if len(answers) != len(jobs):
        raise InvalidRequest("the program did not answer for each job", path="jq", help="try it with jq -c")
    return [job for job, answer in zip(jobs, answers, strict=True) if answer == b"1"]


def _run(path: str, program: str, text: bytes) -> list[bytes]:
    cpu = CPU_SECONDS + len(text) / BYTES_PER_SECOND
    launch = _LAUNCH.format(cpu=cpu, memory=MEMORY_BYTES, output=OUTPUT_BYTES)
    command = [sys.executable, "-I", "-S", "-c", launch, path, "-c", program]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            code = subprocess.run(  # noqa: S603 - argv without a shell, and the program begins with our own words
                command, input=text, stdout=output, stderr=errors, env={}, cwd="/", timeout=WALL_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = -signal.SIGPROF
        output.seek(0)
        errors.seek(0)
        told, said = output.read(), errors.read(4096)
    if code == -signal.SIGPROF:
        raise InvalidRequest("the program took too long", path="jq", help=f"it has {cpu:.1f} s for these jobs")
    if code == -signal.SIGXFSZ:
        raise InvalidRequest("the program says too much", path="jq", help=f"{OUTPUT_BYTES:,} bytes at most")
    if code != 0:
        reason = said.decode("utf-8", "replace").strip().splitlines()
        raise InvalidRequest(
            f"jq refuses the program: {ascii(reason[0][:200])[1:-1] if reason else 'it was stopped'}",
            path="jq",
            help="try it with jq on the output of roost jobs inspect ID -o json",
        )
    return told.split()
