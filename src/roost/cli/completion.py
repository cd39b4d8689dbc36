"""``roost completion``: the script that makes a shell complete commands, options and values."""

from __future__ import annotations

import click

HOWTO = {
    "bash": 'eval "$(roost completion bash)"       # in ~/.bashrc',
    "zsh": 'eval "$(roost completion zsh)"        # in ~/.zshrc',
    "fish": "roost completion fish > ~/.config/fish/completions/roost.fish",
}


@click.command("completion", epilog="\b\n" + "\n".join(HOWTO.values()))
@click.argument("shell", type=click.Choice(tuple(HOWTO)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice offers only shells that click knows
    click.echo(kind(ctx.find_root().command, {}, "roost", "_ROOST_COMPLETE").source())
