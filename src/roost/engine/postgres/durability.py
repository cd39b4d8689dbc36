"""What the server's settings promise, in words."""

from __future__ import annotations

from roost.engine.postgres.connection import Connection


def describe(connection: Connection) -> str:
    """``process crash: safe · power loss: safe · failover: may lose``, and why where it may lose.

    ``synchronous_commit`` is not asked: every transaction of Roost's has at least ``on``.
    """
    row = connection.execute(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), "
        "current_setting('synchronous_standby_names')"
    ).fetchone()
    fsync, pages, standbys = row or ("", "", "")
    unsafe = [f"{name}=off" for name, value in (("fsync", fsync), ("full_page_writes", pages)) if value != "on"]
    power = f"power loss: may lose ({', '.join(unsafe)})" if unsafe else "power loss: safe"
    failover = (
        f"failover: safe (waits for {standbys})" if standbys else "failover: may lose (no synchronous_standby_names)"
    )
    return f"process crash: safe · {power} · {failover}"
