"""Where a server is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from roost.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Address:
    """A server's URL, taken apart."""

    url: str
    host: str
    port: int
    tls: bool
    base: str
    """What comes before the API's own paths, for a server behind a proxy."""

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises `ConfigurationError` for what is not ``http://host[:port][/base]``."""
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            parts, port, host = urlsplit(""), None, None
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
            raise ConfigurationError(
                f"{url[:80]!r} is not a server's URL", path="url", help="write it as http://127.0.0.1:7667"
            )
        tls = parts.scheme == "https"
        base = parts.path.rstrip("/")
        return cls(url=url.rstrip("/"), host=host, port=port or (443 if tls else 80), tls=tls, base=base)

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"
