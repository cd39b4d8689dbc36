"""How a command fails: one line with a stable code, one with what to do, and an exit code."""

from __future__ import annotations

import click

from roost.cli import exit_codes, text
from roost.cli.output import Format, note
from roost.errors import RoostError


def report(error: RoostError, format: Format) -> int:
    """Tell ``error`` on stderr, as JSON where the data would be; the answer is the exit code."""
    code = exit_codes.of(error)
    if format in ("json", "jsonl"):
        import msgspec

        from roost.wire.problems import ErrorBody, Problem

        note(text.json_line(msgspec.json.encode(ErrorBody(error=Problem.of(error))).decode()))
        return code
    where = f"{error.path}: " if error.path else ""
    note(f"error[{error.code}]: {text.line(where + error.message)}")
    if error.retry_after is not None:
        note(f"  try again in {error.retry_after:g} s")
    if error.help:
        note(f"  {text.line(error.help)}")
    return code


def report_usage(error: click.ClickException, format: Format) -> int:
    """Tell a mistake in the command line."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        note(error.format_message())
        return exit_codes.USAGE
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    message = error.format_message().rstrip(".")
    help_text = f"look at {ctx.command_path} --help" if ctx is not None else ""
    if format in ("json", "jsonl"):
        import msgspec

        problem = {"code": "usage", "message": message, "help": help_text}
        note(text.json_line(msgspec.json.encode({"error": problem}).decode()))
    else:
        note(f"error[usage]: {text.line(message)}")
        if help_text:
            note(f"  {help_text}")
    return exit_codes.USAGE if isinstance(error, click.UsageError) else error.exit_code
