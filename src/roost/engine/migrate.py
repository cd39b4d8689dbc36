"""Forward migrations: numbered files of SQL, applied once, told apart by their checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

import msgspec

from roost.errors import StoreError, StoreTooNew

_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema."""

    version: int
    name: str
    sql: str
    checksum: str
    """SHA-256 of the file's text."""


@cache
def load(package: str) -> tuple[Migration, ...]:
    """All migrations in ``package``'s folder ``migrations``, first to last."""
    found = []
    for file in resources.files(package).joinpath("migrations").iterdir():
        match = _FILE.match(file.name)
        if match:
            text = file.read_text()
            found.append(Migration(int(match[1]), match[2], text, hashlib.sha256(text.encode()).hexdigest()))
    return tuple(sorted(found, key=lambda migration: migration.version))


def pending(known: Sequence[Migration], applied: dict[int, str]) -> list[Migration]:
    """What is still to apply; raises `StoreTooNew` for a newer store, `StoreError` where history differs."""
    newest = known[-1].version if known else 0
    ahead = max(applied, default=0)
    if ahead > newest:
        raise StoreTooNew(
            f"the store's schema is version {ahead}, this Roost knows {newest}", help="install the newer Roost again"
        )
    for migration in known:
        checksum = applied.get(migration.version)
        if checksum is not None and checksum != migration.checksum:
            raise StoreError(
                f"migration {migration.version} was applied from another text",
                help="the store was made by a Roost that is not this one's ancestor",
            )
    return [migration for migration in known if migration.version not in applied]


@cache
def statements(sql: str) -> tuple[str, ...]:
    """The statements of a migration's text, which ends each with a semicolon at a line's end."""
    text = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return tuple(part.strip() for part in re.split(r";\s*$", text, flags=re.MULTILINE) if part.strip())
