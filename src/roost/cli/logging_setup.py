"""Log lines of the long-running commands: on stderr, one format, harmless to a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from roost.cli import text

P = ParamSpec("P")
R = TypeVar("R")

LEVELS = ("debug", "info", "warning", "error")


def log_option(command: Callable[P, R]) -> Callable[P, R]:
    """``--log-level`` of a command that runs until it is stopped."""
    return click.option(
        "--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="What is logged on stderr."
    )(command)


class _Lines(logging.Formatter):
    """A record as its lines, each of them safe to print: messages carry what clients and handlers said."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(text.block(super().format(record)))


def log_to_stderr(level: str) -> None:
    """Send this process's log to stderr, from ``level`` up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
