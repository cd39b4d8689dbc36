"""A click group whose commands are imported when they are called, and that corrects misspelt names."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

import click


def no_such(what: str, given: str, known: list[str], ctx: click.Context) -> NoReturn:
    """Raises the usage error of an unknown name, with the nearest known ones."""
    from difflib import get_close_matches

    near = get_close_matches(given, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise click.UsageError(f"there is no {what} {given!r}{hint}", ctx)


class Group(click.Group):
    """A group that says which of its commands was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` names; raises `click.UsageError` with the nearest names."""
        name = str(args[0])
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            no_such("command", f"{ctx.command_path} {name}".removeprefix("roost "), self._paths(ctx), ctx)
        return super().resolve_command(ctx, args)

    def _paths(self, ctx: click.Context) -> list[str]:
        return [f"{ctx.command_path} {name}".removeprefix("roost ") for name in self.list_commands(ctx)]


class LazyGroup(Group):
    """A group that knows of its commands only the place and the one-line help: ``{name: (module, help)}``.

    Each module has its command in the name ``command``. A listing needs no import; calling a command needs one.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return [*self.lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None where there is none."""
        place = self.lazy.get(cmd_name)
        if place is None:
            return None
        command = import_module(place[0]).command
        assert isinstance(command, click.Command)  # noqa: S101 - a mistake in the table, found by the grammar test
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in self.lazy.items()])
