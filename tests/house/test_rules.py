"""The rules of the house are in force: a file that breaks one is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import check_hosts, check_sizes
from scripts.source_files import ROOT

PROGRAMS = Path(sys.executable).parent


def _ruff(source: str, path: str, *options: str) -> list[str]:
    """The codes ruff finds in `source` as if it lay at `path` of this project."""
    done = subprocess.run(
        [PROGRAMS / "ruff", "check", "--output-format=concise", *options, "--stdin-filename", ROOT / path, "-"],
        input=source,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert not done.stderr, done.stderr
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith(path)]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import pickle\n", "TID251"),
        ("from marshal import loads\n", "TID251"),
        ("import shelve\n", "TID251"),
        ("eval(input())\n", "S307"),
        ("exec(input())\n", "S102"),
    ],
)
@pytest.mark.parametrize("path", ["src/roost/wire/codec.py", "tests/house/test_something.py"])
def test_formats_that_run_code_are_banned_everywhere(source: str, code: str, path: str) -> None:
    assert code in _ruff(source, path)


@pytest.mark.parametrize(
    "source",
    [
        "import time\n\ntime.time()\n",
        "from datetime import datetime\n\ndatetime.now()\n",
        "from uuid import uuid4\n\nuuid4()\n",
        "import random\n",
        "import secrets\n",
        "import os\n\nos.urandom(4)\n",
        "import asyncio\n\nasyncio.sleep(1)\n",
    ],
)
def test_time_identifiers_and_chance_are_injected(source: str) -> None:
    injected = ("--config", str(ROOT / "scripts" / "ruff_injected.toml"))
    assert _ruff(source, "src/roost/service/planner.py", *injected) == ["TID251"]
    assert _ruff(source, "src/roost/service/clock.py", *injected) == []


def _lint_imports(project: Path, modules: dict[str, str]) -> tuple[int, str]:
    """Status and output of the import contracts over a package `roost` made of `modules`."""
    (project / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    for name, source in {"__init__.py": "", "errors.py": "", **modules}.items():
        path = project / "roost" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        (path.parent / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; sys.path.insert(0, '.'); "
         "from importlinter.cli import lint_imports_command as command; command(['--no-cache'])"],
        capture_output=True, text=True, check=False, cwd=project,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_layers_that_do_not_exist_yet_are_fine(tmp_path: Path) -> None:
    modules = {
        "engine/reader.py": "import roost.domain.states\n",
        "domain/states.py": "import roost.errors\n",
        "sdk/app.py": "import roost.domain.states\n",
    }
    status, output = _lint_imports(tmp_path, modules)
    assert status == 0, output


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("domain", "wire"),
        ("wire", "engine"),
        ("engine", "service"),
        ("service", "sdk"),
        ("sdk", "service"),
        ("sdk", "engine"),
        ("service", "server"),
        ("server", "cli"),
    ],
)
def test_an_import_against_the_layers_is_found(low: str, high: str, tmp_path: Path) -> None:
    modules = {f"{low}/one.py": f"import roost.{high}.two\n", f"{high}/two.py": "", "sdk/app.py": ""}
    modules |= {f"{layer}/some.py": "" for layer in ("engine", "service")}
    status, output = _lint_imports(tmp_path, modules)
    assert status == 1, output
    assert f"roost.{low}.one -> roost.{high}.two" in output


def test_a_file_over_the_wall_is_found(tmp_path: Path) -> None:
    long = tmp_path / "src" / "long.py"
    long.parent.mkdir()
    long.write_text("x = 1\n" * 601, encoding="utf-8")
    short = tmp_path / "src" / "short.sql"
    short.write_text("SELECT 1\n" * 400, encoding="utf-8")
    other = tmp_path / "docs.py"
    other.write_text("x = 1\n" * 601, encoding="utf-8")
    assert check_sizes.long_files([long, short, other], tmp_path) == [(601, "src/long.py")]


@pytest.mark.parametrize("parts", [("", "work", "main"), ("", "root", ".cache"), ("", "home", "someone", "roost")])
def test_a_machine_path_is_found(parts: tuple[str, ...], tmp_path: Path) -> None:
    document = tmp_path / "notes.md"
    document.write_text(f"fine\nsee {'/'.join(parts)}/file\n", encoding="utf-8")
    assert [line.split(" ")[0] for line in check_hosts.findings(document, tmp_path)] == ["notes.md:2:"]


@pytest.mark.parametrize("host", [("pypi", "org"), ("registry.npmjs", "org"), ("crates", "io"), ("deb.debian", "org")])
def test_a_registry_host_is_found(host: tuple[str, ...], tmp_path: Path) -> None:
    document = tmp_path / "notes.md"
    document.write_text(f"https://{'.'.join(host)}/simple\n", encoding="utf-8")
    assert len(check_hosts.findings(document, tmp_path)) == 1


def test_ordinary_paths_are_fine(tmp_path: Path) -> None:
    document = tmp_path / "notes.md"
    document.write_text("tests/work/main ./root/x /usr/lib/postgresql /api/v1/jobs $(HOME)/work/x\n", encoding="utf-8")
    assert check_hosts.findings(document, tmp_path) == []
