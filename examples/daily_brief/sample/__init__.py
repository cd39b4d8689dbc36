"""A sample inbox for ana@example.com and ben@example.com, dated anew each time it is written.

The mbox files beside this one hold ``{{date -3h15m +0100}}`` and ``{{envelope -3h15m}}`` where a date belongs: that
long before the given instant, as a mail header and as an mbox envelope line write it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

_PLACE = re.compile(r"\{\{(date|envelope) -(?:(\d+)h)?(?:(\d+)m)?(?: ([+-]\d{4}))?\}\}")
_TEMPLATES = Path(__file__).parent


def users() -> list[str]:
    """The addresses the sample has mail for."""
    return sorted(template.stem for template in _TEMPLATES.glob("*.mbox"))


def write(folder: Path, now: datetime) -> str:
    """Write one mbox per user into `folder`, dated relative to `now`; the answer fits ``BRIEF_MAILBOX``."""
    folder.mkdir(parents=True, exist_ok=True)

    def dated(place: re.Match[str]) -> str:
        kind, hours, minutes, offset = place.groups()
        when = now - timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        if kind == "envelope":
            return f"{when.astimezone(UTC):%a %b %d %H:%M:%S %Y}"
        zone = datetime.strptime(offset or "+0000", "%z").tzinfo
        return format_datetime(when.astimezone(zone))

    for template in _TEMPLATES.glob("*.mbox"):
        text = template.read_text(encoding="ascii")
        (folder / template.name).write_text(_PLACE.sub(dated, text), encoding="ascii")
    return str(folder / "{user}.mbox")
