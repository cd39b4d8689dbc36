"""What a server tells of itself."""

from __future__ import annotations

from roost.wire.codec import Wire


class Health(Wire, kw_only=True):
    """``status`` is ``ok``, or why not."""

    status: str


class Info(Wire, kw_only=True):
    """Versions, the store and the guarantee in force."""

    version: str
    engine: str
    engine_version: str
    durability: str
    node: str
    started_at: str
    now: str
    url: str = ""
