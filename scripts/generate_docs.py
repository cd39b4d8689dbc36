"""Writes what the guides repeat from the code: the command line's reference, settings, operations, errors, campaigns.

``docs/guides/cli.md`` is made whole; elsewhere a table stands between ``<!-- generated: NAME -->`` and
``<!-- end -->``.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from roost.cli.main import main as program
from roost.cli.server import command as server_command
from roost.domain.query_fields import FIELDS
from roost.errors import BY_CODE, RoostError
from roost.server.guard import Limits
from roost.server.settings import Settings
from roost.wire.contract import OPERATIONS, PREFIX
from scripts import feature_tests
from scripts.source_files import ROOT

CLI = Path("docs/guides/cli.md")
WITH_TABLES = (
    Path("docs/guides/operations.md"),
    Path("docs/guides/http.md"),
    Path("docs/guides/reliability.md"),
    Path("docs/guides/search.md"),
)
_PLACE = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(root: Path = ROOT) -> dict[Path, str]:
    """Each document's path and the text it should have."""
    made = {CLI: cli_reference(), feature_tests.DOCUMENT: feature_tests.document(root)}
    for path in WITH_TABLES:
        text = (root / path).read_text()
        made[path] = _PLACE.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}{found[3]}", text)
    return made


def existing(root: Path = ROOT) -> dict[Path, str]:
    """Each document's path and the text it has."""
    paths = [path for path in (CLI, feature_tests.DOCUMENT, *WITH_TABLES) if (root / path).exists()]
    return {path: (root / path).read_text() for path in paths}


# --- the command line -------------------------------------------------------------------------------------------------


def cli_reference() -> str:
    """Every command with its arguments and options, as ``--help`` has them."""
    parts = [
        "# Command line\n\nMade from the program by `make generate`; `roost COMMAND --help` says the same.",
        *(
            _command(command, context)
            for command, context in _commands(program, click.Context(program, info_name="roost"))
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, click.Context(found, parent=context, info_name=name))


def _command(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## {context.command_path}", f"```text\n{usage}\n```", _plain(command.help or "")]
    records = [param.get_help_record(context) for param in command.params]
    options = [
        f"| `{_escaped(name)}` | {_cell(text)} |" for name, text in filter(None, records) if name.startswith("-")
    ]
    if options:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *options]))
    if command.epilog:
        parts += _epilog(command.epilog)
    return "\n\n".join(filter(None, parts))


def _epilog(text: str) -> list[str]:
    if text.startswith("Example: "):
        return [f"```console\n$ {text.removeprefix('Example: ')}\n```"]
    return [f"```text\n{text.removeprefix(chr(8)).strip()}\n```" if "\n" in text else _plain(text)]


def _plain(text: str) -> str:
    return inspect.cleandoc(text).replace("\b\n", "").replace("<", "\\<")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")  # also within code, a bar ends a cell


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|").replace("<", "\\<")


# --- tables -----------------------------------------------------------------------------------------------------------


def settings_table() -> str:
    """The server's settings: flag, variable and key of each."""
    flags = {param.name: param.opts[0] for param in server_command.params if isinstance(param, click.Option)}
    lines = ["| key in `[server]` | flag | variable | default | meaning |", "|---|---|---|---|---|"]
    for name, default, meaning in _fields(Settings):
        if name != "limits":
            flag = f"`{flags[name]}`" if name in flags else ""
            lines.append(f"| `{name}` | {flag} | `ROOST_{name.upper()}` | {_value(default)} | {meaning} |")
    return "\n".join(lines) + "\n"


def limits_table() -> str:
    """The limits of the server's guard."""
    lines = ["| key in `[server.limits]` | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {_value(default)} | {meaning} |" for name, default, meaning in _fields(Limits)]
    return "\n".join(lines) + "\n"


def operations_table() -> str:
    """The API's operations."""
    lines = ["| call | path | does |", "|---|---|---|"]
    lines += [f"| `{one.method}` | `{PREFIX}{one.path}` | {one.summary} |" for one in OPERATIONS]
    return "\n".join(lines) + "\n"


def query_fields_table() -> str:
    """The fields of the query language."""
    lines = ["| field | value | means | such as |", "|---|---|---|---|"]
    for field in FIELDS.values():
        name = f"{field.name}.…" if field.path else field.name
        lines.append(f"| `{name}` | {field.kind.value} | {field.meaning} | `{_escaped(field.example)}` |")
    return "\n".join(lines) + "\n"


def errors_table() -> str:
    """The errors that a server answers with."""
    lines = ["| status | code | means |", "|---|---|---|"]
    known = sorted(BY_CODE.values(), key=lambda kind: kind.status)
    lines += [f"| {kind.status} | `{kind.code}` | {_first_line(kind)} |" for kind in known if kind not in _CLIENTS]
    return "\n".join(lines) + "\n"


def campaigns_table() -> str:
    """What the recorded campaigns counted."""
    lines = ["| campaign | counted | violations of a promise |", "|---|---|---|"]
    for path in sorted((ROOT / "bench" / "reliability").glob("*.json")):
        record = json.loads(path.read_text())
        counts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in record["counts"].items())
        lines.append(f"| {record['campaign']} | {counts} | {len(record['violations'])} |")
    return "\n".join(lines) + "\n"


_CLIENTS = {RoostError, *(BY_CODE[code] for code in ("configuration", "job_failed", "result_timeout"))}
"""Raised by programs alone, never sent; and the root of all."""

TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "limits": limits_table,
    "operations": operations_table,
    "errors": errors_table,
    "campaigns": campaigns_table,
    "query_fields": query_fields_table,
}


def _first_line(kind: type[RoostError]) -> str:
    return _cell(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0])


def _fields(kind: type[msgspec.Struct]) -> Iterator[tuple[str, Any, str]]:
    """Each field with its default and the text below it in the source; raises `LookupError` where there is none."""
    [tree] = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            value = following.value if isinstance(following, ast.Expr) else None
            if isinstance(value, ast.Constant):
                texts[field.target.id] = _cell(str(value.value))
    for info in msgspec.structs.fields(kind):
        if info.name != "limits" and info.name not in texts:
            raise LookupError(f"{kind.__name__}.{info.name} has no text below it")
        yield info.name, info.default, texts.get(info.name, "")


def _value(default: object) -> str:
    if default in (None, ()):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def main() -> int:
    before = existing()
    for path, text in generated().items():
        if before.get(path) != text:
            (ROOT / path).write_text(text)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
