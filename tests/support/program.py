"""The command line as a user calls it, in the tests' own process: the real entry point without a new Python."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from click.testing import CliRunner

from roost.cli.main import main


def call(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """What ``roost WORDS`` answers, typed in ``folder`` with ``variables`` as its whole environment.

    For commands that end by themselves; what takes signals or loads an app's module is to be started as a program.
    """
    with _standing_in(folder, variables):
        answer = CliRunner(catch_exceptions=False).invoke(main, [*words], input=stdin, prog_name="roost")
    return subprocess.CompletedProcess([*words], answer.exit_code, answer.stdout, answer.stderr)


@contextlib.contextmanager
def _standing_in(folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _set_environment(variables)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)
