"""The command line's grammar: every command is there, loads lazily, helps, and refuses what it cannot read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from roost.cli import exit_codes
from roost.cli.main import COMMANDS, main
from roost.errors import BY_CODE, RoostError

NOUNS = {
    "jobs": "list enqueue wait inspect explain logs cancel retry delete",
    "queues": "list show pause resume edit",
    "schedules": "list show create edit preview pause resume run delete runs",
    "approvals": "list show approve deny answer extend",
    "db": "migrate backup adopt",
}


def walk(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every command under ``command`` with its path."""
    yield ctx.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            assert child is not None
            yield from walk(child, click.Context(child, info_name=name, parent=ctx))


def run_program(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = ["-c", code] if code else ["-m", "roost.cli.main"]
    return subprocess.run([sys.executable, *program, *words], capture_output=True, text=True, timeout=60, check=False)


def test_every_command_of_the_table_loads_and_helps() -> None:
    seen = set()
    for path, command in walk(main, click.Context(main, info_name="roost")):
        seen.add(path)
        result = CliRunner().invoke(main, [*path.split()[1:], "--help"])
        assert result.exit_code == 0, path
        assert result.stdout.startswith("Usage: roost"), path
        assert command.help, f"{path} has no help"
    assert {f"roost {name}" for name in COMMANDS} <= seen
    assert {f"roost {noun} {verb}" for noun, verbs in NOUNS.items() for verb in verbs.split()} <= seen


def test_every_option_is_explained() -> None:
    for path, command in walk(main, click.Context(main, info_name="roost")):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.opts[-1]}"


def test_every_listing_and_change_takes_a_format() -> None:
    without = {"server", "worker", "dev", "completion", "help", "bench"}
    for path, command in walk(main, click.Context(main, info_name="roost")):
        name = path.removeprefix("roost ")
        if name not in without and not isinstance(command, click.Group) and not name.startswith("bench"):
            assert any("--output" in parameter.opts for parameter in command.params), path


def test_every_list_lets_its_fields_be_chosen() -> None:
    lists = [path for path, _ in walk(main, click.Context(main, info_name="roost")) if path.split()[-1] == "list"]
    assert len(lists) > 12
    for path, command in walk(main, click.Context(main, info_name="roost")):
        if path in lists:
            assert any("--fields" in parameter.opts for parameter in command.params), path


@pytest.mark.parametrize(
    "words", [["--version"], ["jobs", "--help"], ["jobs", "list", "--help"], ["completion", "bash"]]
)
def test_simple_commands_import_nothing_but_click(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from roost.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:], prog_name='roost')\n"
        "finally:\n"
        "    heavy = {'msgspec', 'rich', 'httptools', 'apsw', 'psycopg', 'uvicorn', 'asyncio', 'ssl', 'cronsim',"
        "'importlib.metadata', 'difflib'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    result = run_program(*words, code=code)
    assert (result.returncode, result.stderr) == (0, "[]\n")


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert run_program("--version").stdout == f"roost {version('roost')}\n"


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["job"], "jobs"),
        (["jobs", "lst"], "jobs list"),
        (["schedules", "previw"], "schedules preview"),
        (["help", "exit-code"], "exit-codes"),
        (["api", "GET", "/job"], "GET /jobs"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(words: list[str], near: str) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr.startswith("error[usage]: there is no ")
    assert f"did you mean {near}" in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["jobs", "list", "--state", "dead"], "'dead' is not one of"),
        (["jobs", "list", "--limit", "0"], "0 is not in the range"),
        (["jobs", "list", "--since", "yesterday"], "'yesterday' is not a time"),
        (["jobs", "inspect"], "Missing argument"),
        (["jobs", "inspect", "seven"], "'seven' is not a valid integer"),
        (["jobs", "cancel", "7", "x"], "'x' is not the id of a job"),
        (["jobs", "delete", "7", "8"], "this would delete 2 jobs; add --yes"),
        (["jobs", "enqueue", "mail", "{'to': 1}"], "not JSON"),
        (["jobs", "enqueue", "mail", "hello"], "texts need their quotes"),
        (["jobs", "enqueue", "mail", "@/no/such/file"], "cannot read /no/such/file"),
        (["jobs", "enqueue", "mail", "--priority", "10"], "'10' is not a priority"),
        (["jobs", "enqueue", "mail", "--tag", "urgent"], "'urgent' is not a tag"),
        (["jobs", "enqueue", "mail", "--within", "3s"], "--within has a meaning only with --wait"),
        (["jobs", "enqueue", "mail", "--unique-within", "3s"], "--unique-within needs --unique"),
        (["queues", "edit", "mail"], "nothing to change"),
        (["approvals", "approve", "7", "--hash", "abc"], "at least 8 characters"),
        (["schedules", "preview"], "give the NAME of a schedule, or a rule"),
        (["jobs", "list", "-o", "xml"], "'xml' is not one of"),
        (["jobs", "list", "--nonsense"], "No such option"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_code_2(words: list[str], told: str, tmp_path: Path) -> None:
    result = CliRunner(env={"ROOST_URL": f"sqlite:///{tmp_path}/none.db"}).invoke(main, words)
    assert result.exit_code == exit_codes.USAGE
    assert result.stdout == ""
    first, *rest = result.stderr.splitlines()
    assert first.startswith("error[usage]: ")
    assert told in first
    assert all(line.startswith("  look at roost") for line in rest)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["jobs"], ["-o", "json", "db"]])
def test_a_command_left_out_is_answered_with_the_help(words: list[str]) -> None:
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (exit_codes.USAGE, "")
    assert result.stderr.startswith("Usage: roost ")
    assert "\nCommands:\n  " in result.stderr


def test_a_reader_that_leaves_early_is_no_failure() -> None:
    for words in (["--help"], ["help", "exit-codes"]):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as nobody:
            program = [sys.executable, "-m", "roost.cli.main", *words]
            done = subprocess.run(program, stdout=nobody, stderr=subprocess.PIPE, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_driver_that_is_not_installed_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    url = "postgresql://roost@127.0.0.1:1/jobs"
    told = "the PostgreSQL driver is not installed"
    for words in (["jobs", "list"], ["db", "migrate"], ["server", "--port", "0"], ["outbox", "install", url]):
        result = CliRunner(env={"ROOST_URL": url, "ROOST_STORE": url}).invoke(main, words)
        assert isinstance(result.exception, SystemExit), words
        assert told in result.stderr
        assert "pip install 'roost[postgres]'" in result.stderr
    assert told in CliRunner(env={"ROOST_URL": url}).invoke(main, ["doctor"]).stdout


def test_usage_errors_are_json_where_data_would_be() -> None:
    result = CliRunner().invoke(main, ["jobs", "list", "-o", "json", "--state", "dead"])
    assert result.exit_code == exit_codes.USAGE
    problem = json.loads(result.stderr)["error"]
    assert problem["code"] == "usage"
    assert problem["help"] == "look at roost jobs list --help"


def test_every_error_has_an_exit_code() -> None:
    codes = {code: exit_codes.of(kind("")) for code, kind in BY_CODE.items()}
    assert set(codes.values()) <= set(exit_codes.MEANINGS)
    expected = {
        "not_found": 3, "conflict": 4, "hold_expired": 4, "subject_changed": 4, "unique_conflict": 4, "unavailable": 5,
        "overloaded": 5, "store_owned": 5, "outcome_unknown": 5, "result_timeout": 6, "job_failed": 1, "error": 1,
        "invalid_request": 1, "configuration": 1,
    }  # fmt: skip
    assert {code: codes[code] for code in expected} == expected
    assert exit_codes.of(RoostError("")) == exit_codes.FAILED


def test_exit_codes_are_documented() -> None:
    result = CliRunner().invoke(main, ["help", "exit-codes"])
    assert [int(line.split()[0]) for line in result.stdout.splitlines()] == [0, 1, 2, 3, 4, 5, 6, 13, 130]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_back(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_ROOST_COMPLETE={shell}_complete" in result.stdout


def test_completion_completes_commands_and_values() -> None:
    from click.shell_completion import ShellComplete

    complete = ShellComplete(main, {}, "roost", "_ROOST_COMPLETE")
    assert [item.value for item in complete.get_completions(["jobs"], "in")] == ["inspect"]
    assert [item.value for item in complete.get_completions(["jobs", "list", "--state"], "f")] == ["failed"]
