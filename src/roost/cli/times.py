"""Times and durations for people: how long ago, and when."""

from __future__ import annotations

from datetime import datetime, timedelta

import click


def now_ms() -> int:
    """This machine's time, in milliseconds since the epoch."""
    from roost.service.clock import SystemClock

    return SystemClock().now()


def parse(text: str) -> datetime:
    """A time of the API (RFC 3339), in this machine's zone."""
    return datetime.fromisoformat(text).astimezone()


def span(seconds: float) -> str:
    """A length of time in its one or two largest units: ``40ms``, ``2.1s``, ``3m20s``, ``5h10m``, ``3d4h``."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    for size, unit, small, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            count, rest = divmod(whole, size)
            return f"{count}{unit}" + (f"{rest // small}{small_unit}" if rest >= small else "")
    return f"{whole}s"


def between(start: str | None, end: str | None) -> str:
    """The time from one moment to another; empty where one is not known."""
    if start is None or end is None:
        return ""
    return span(max(0.0, (parse(end) - parse(start)).total_seconds()))


def relative(text: str) -> str:
    """``2m ago`` or ``in 5h``."""
    difference = now_ms() / 1000 - parse(text).timestamp()
    rough = _rough(abs(difference))
    if abs(difference) < 1:
        return "now"
    return f"{rough} ago" if difference > 0 else f"in {rough}"


def _rough(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def short(text: str | None) -> str:
    """For a column: how long ago, and the clock time (with the date where it is another day's); empty for None."""
    if text is None:
        return ""
    moment = parse(text)
    today = datetime.fromtimestamp(now_ms() / 1000).astimezone().date()
    near = moment.date() == today
    return f"{relative(text)}, {moment:%H:%M:%S}" if near else f"{relative(text)}, {moment:%Y-%m-%d %H:%M}"


def full(text: str | None) -> str:
    """For a detail: the whole time with its offset, and how long ago; empty for None."""
    if text is None:
        return ""
    moment = parse(text)
    offset = moment.utcoffset() or timedelta()
    zone = "UTC" if not offset else f"{moment:%z}"[:3] + ":" + f"{moment:%z}"[3:]
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} {zone} ({relative(text)})"


class Moment(click.ParamType[datetime]):
    """A point in time: RFC 3339, or a local time with a zone's name (this machine's zone without one)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time with its offset; fails as a usage error."""
        if isinstance(value, datetime):
            return value
        words = str(value).split()
        zone = words.pop() if len(words) > 1 and ("/" in words[-1] or words[-1] == "UTC") else None
        try:
            moment = datetime.fromisoformat(" ".join(words))
            if zone is not None and moment.tzinfo is None:
                from zoneinfo import ZoneInfo

                moment = moment.replace(tzinfo=ZoneInfo(zone))
        except (ValueError, LookupError, OSError):
            self.fail(
                f"{value!r} is not a time; write 2026-11-21T09:00:00Z, 2026-11-21T09:00+01:00 "
                "or '2026-11-21 09:00 Europe/Paris'",
                param,
                ctx,
            )
        return moment if moment.tzinfo is not None else moment.astimezone()


MOMENT = Moment()
