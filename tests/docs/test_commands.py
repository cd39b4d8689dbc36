"""Every `roost …` that a document shows can be typed: command, arguments and options exist."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from roost.cli.main import main
from tests.docs.documents import DOCUMENTS, mentioned_commands, shown_commands


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_shown_commands_can_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_ACTOR", "tester")
    for words in shown_commands(path.read_text()):
        read(words)
    for words in mentioned_commands(path.read_text()):
        read(words, mention=True)


def test_a_wrong_one_is_noticed() -> None:
    for words in (
        ["jobs", "look"],
        ["jobs", "list", "--colour"],
        ["approvals", "approve"],
        ["approvals", "approve", "x"],
    ):
        with pytest.raises(click.UsageError):
            read(words)


def read(words: list[str], mention: bool = False) -> None:
    """Read a command line as the program does, without doing it; a ``mention`` may leave the arguments out."""
    command: click.Command = main
    context = click.Context(command, info_name="roost")
    rest = [PLACEHOLDERS.get(word, word) for word in words]
    while isinstance(command, click.Group) and rest:
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    if not (mention and not rest):
        command.make_context(context.info_name, rest, parent=context.parent)


PLACEHOLDERS = {"ID": "1", "DURATION": "1h"}
