"""The doctor's verdicts: on a database that promises less, on clocks, on files."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from roost.cli import checks
from roost.cli.checks_postgres import durability
from roost.cli.main import main
from roost.engine.sqlite.owner import Owner

SAFE = {
    "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": "FIRST 1 (b)",
    "data_checksums": "on", "default_transaction_read_only": "off",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({}, set()),
        ({"synchronous_commit": "off"}, set()),
        ({"data_checksums": "off"}, {"warn"}),
        ({"fsync": "off"}, {"fail"}),
        ({"full_page_writes": "off"}, {"fail"}),
        ({"default_transaction_read_only": "on"}, {"fail"}),
    ],
)
def test_settings_are_judged(changes: dict[str, str], verdicts: set[str]) -> None:
    bad = [check for check in durability({**SAFE, **changes}) if check.verdict != "ok"]
    assert {check.verdict for check in bad} == verdicts
    assert all(check.help and next(iter(changes)) in check.found for check in bad)


def test_a_real_database_without_fsync_is_told_so(postgres_url: str) -> None:
    result = CliRunner().invoke(main, ["doctor", "--url", postgres_url, "-o", "json"])
    found = {check["check"]: check for check in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert found["guarantee"]["verdict"] == "fail"
    assert "power loss: may lose (fsync=off" in found["guarantee"]["found"]
    assert found["store"]["found"].startswith("PostgreSQL ")
    assert found["schema"]["verdict"] == "warn"
    assert found["clock"]["verdict"] == "ok"
    migrated = CliRunner().invoke(main, ["db", "migrate", "--url", postgres_url])
    assert migrated.exit_code == 0, migrated.stderr
    assert CliRunner().invoke(main, ["db", "migrate", "--check", "--url", postgres_url]).exit_code == 0


@pytest.mark.parametrize(
    ("other", "verdict"), [(1_050, "ok"), (1_900, "ok"), (2_200, "warn"), (-9_500, "fail"), (0, "warn")]
)
def test_clocks_are_compared_between_two_moments(other: int, verdict: str) -> None:
    assert checks.clock("the other", other, 1_000, 1_100).verdict == verdict


def test_files_that_cannot_be_trusted(tmp_path: Path) -> None:
    path = tmp_path / "roost.db"
    path.write_text("this is no database, and never was one")
    path.chmod(0o666)
    result = CliRunner().invoke(main, ["doctor", "--url", f"sqlite:///{path}"])
    assert result.exit_code == 1
    assert "every account may look into it" in result.stdout
    assert "is not an SQLite database" in result.stdout
    assert path.read_text().startswith("this is no database")
    shop = tmp_path / "shop.db"
    with closing(sqlite3.connect(shop)) as other:
        other.execute("CREATE TABLE orders (id)")
    before = shop.read_bytes()
    result = CliRunner().invoke(main, ["doctor", "--url", f"sqlite:///{shop}"])
    assert (result.exit_code, "is another program's database" in result.stdout) == (1, True)
    for words in (["jobs", "list"], ["db", "migrate"]):
        refused = CliRunner().invoke(main, [*words, "--url", f"sqlite:///{shop}"])
        assert (refused.exit_code, "is another program's database" in refused.stderr) == (5, True)
    # Nothing of Roost's was written to it, and nothing of a refused opening is left that keeps others out.
    assert shop.read_bytes() == before
    Owner.take(shop, "server").release()
