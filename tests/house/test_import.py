"""`import roost` stays cheap: what a program does not use is not loaded."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "apsw",
    "psycopg",
    "sqlite3",
    "uvicorn",
    "uvloop",
    "httptools",
    "click",
    "rich",
    "cronsim",
    "asyncio",
    "msgspec",
    "typing",
    "dataclasses",
    "inspect",
    "importlib.metadata",
)
SCRIPT = f"""
import sys
before = set(sys.modules)
import roost
assert roost.__file__, "roost has no __init__.py"
loaded = set(sys.modules) - before
print(sorted(loaded & set({HEAVY!r})), sorted(name for name in loaded if name.startswith("roost.")))
"""


def test_import_loads_no_server_no_database_and_no_other_layer() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] []\n"
