"""``roost help``: what no single command's --help has room for."""

from __future__ import annotations

import click

from roost.cli import exit_codes
from roost.cli.lazy import no_such

TARGETS = """\
Every command that looks at jobs or changes them takes --url:
  http://host:port        a server
  sqlite:///jobs.db       a file, opened in this process
  postgresql://host/name  a database, opened in this process
Without --url: ROOST_URL, then url in roost.toml or in [tool.roost] of pyproject.toml, then ./roost.db.
A file that a server owns is refused, and the message tells the server's URL."""

OUTPUT = """\
-o table   aligned text; colours only on a terminal, none with NO_COLOR (default)
-o json    one valid document, fields in the API's order; [] for an empty list
-o jsonl   one compact document a line
-o csv     a heading and one line for each, the columns named as in the API; nested values are JSON
--fields id,state,input.user   of a list: only these, named as in the API, in this order
-o id      ids only, one a line: roost jobs list --state failed -o id | roost jobs retry -
Data goes to stdout; notes, progress and errors go to stderr, errors as JSON with -o json and -o jsonl.
Control characters in stored data are shown as escapes, never sent to the terminal."""


def _query() -> str:
    from roost.domain.query_fields import FIELDS

    wide = max(len(field.example) for field in FIELDS.values())
    lines = [
        "roost jobs list, cancel, retry, … take a query: terms with a space between, all of which a job must match.",
        'field:value  field:a,b (either)  -field:value (not)  field:>value  field:*  "two words"',
        "a* stands for all that begins with a, in queue, kind and tag.",
        "Times: 24h (ago), +1h (from now), 2026-11-21 (that day, UTC), 2026-11-21T09:00+01:00.",
        "A word without a field is looked for in kinds and errors; digits begin an id.",
        "",
        *(f"{field.example.ljust(wide)}  {field.meaning}" for field in FIELDS.values()),
    ]
    return "\n".join(lines)


def _exit_codes() -> str:
    return "\n".join(f"{code:>3}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())


@click.command("help")
@click.argument("topic", required=False)
@click.pass_context
def command(ctx: click.Context, topic: str | None) -> None:
    """Explain exit-codes, query, targets or output; or show a command's help."""
    root = ctx.find_root().command
    assert isinstance(root, click.Group)  # noqa: S101 - help hangs under the program itself
    topics = {"exit-codes": _exit_codes(), "query": _query(), "targets": TARGETS, "output": OUTPUT}
    if topic is None:
        click.echo(root.get_help(ctx.find_root()))
        click.echo(f"\nTopics (roost help TOPIC): {', '.join(topics)}")
    elif topic in topics:
        click.echo(topics[topic])
    else:
        found = root.get_command(ctx, topic)
        if found is None:
            no_such("help topic", topic, [*topics, *root.list_commands(ctx)], ctx)
        click.echo(found.get_help(click.Context(found, info_name=topic, parent=ctx.find_root())))
