"""Where a database is: its URL, with what Roost asks of libpq, and told without its password."""

from __future__ import annotations

import msgspec
import psycopg
from psycopg import conninfo

from roost.errors import ConfigurationError

# Only where the URL says nothing else. A dead primary is noticed by the socket, never by a timer that cancels a COMMIT;
# where the URL names several hosts, the one that takes writes is found.
DEFAULTS = {
    "application_name": "roost",
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "target_session_attrs": "read-write",
    "client_encoding": "UTF8",
}


class Address(msgspec.Struct, frozen=True):
    """A database's address."""

    url: str
    parameters: str
    """libpq's connection string, whole."""
    location: str
    """``user@host:port/database``, for people."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises `ConfigurationError` for a URL libpq cannot read; the error does not repeat the URL."""
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            # libpq's message quotes the URL, and with it the password.
            raise ConfigurationError(
                "the database's URL cannot be read", help="postgresql://user:password@host:5432/database"
            ) from None
        host = str(given.get("host") or given.get("hostaddr") or "localhost")
        port = str(given.get("port") or "5432")
        user = f"{given['user']}@" if given.get("user") else ""
        hosts = ",".join(
            f"{one}:{at}" for one, at in zip(host.split(","), _spread(port, host.count(",") + 1), strict=True)
        )
        return cls(
            url=url,
            parameters=conninfo.make_conninfo(
                url, **{name: value for name, value in DEFAULTS.items() if name not in given}
            ),
            location=f"{user}{hosts}/{given.get('dbname') or given.get('user') or ''}",
        )


def _spread(ports: str, hosts: int) -> list[str]:
    given = ports.split(",")
    return given if len(given) == hosts else [given[0]] * hosts
