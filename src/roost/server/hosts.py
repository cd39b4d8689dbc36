"""Whom a request may be addressed to.

A page on the internet can point its own name at 127.0.0.1 (DNS rebinding), but it cannot change the Host and Origin
headers that its visitor's browser sends.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from roost.errors import ForeignHost

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether binding to ``host`` reaches this machine only."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


class Hosts:
    """The names this server answers to."""

    def __init__(self, bound: str, port: int, allowed: Iterable[str] = ()) -> None:
        self._names = {name.lower().strip("[]") for name in (*_LOOPBACK, bound, *allowed)}
        address = _address(bound)
        self._any_address = address is not None and address.is_unspecified
        """Bound to every address, whichever they are; a name can be pointed elsewhere, an address cannot."""
        self._known = {f"{_bracketed(name)}:{port}".encode() for name in self._names}

    def check(self, host: bytes | None, origin: bytes | None, http_version: str) -> None:
        """Raise `ForeignHost` for a Host or Origin that is not this server's."""
        if host is None:
            # probes of load balancers still speak HTTP/1.0; browsers never do
            if http_version == "1.0" and origin is None:
                return
            raise ForeignHost("the request has no Host header", help="send one, as HTTP/1.1 wants")
        if host not in self._known and not self._is_own(host):
            raise ForeignHost(
                "the Host header names another server",
                help="address the server as localhost, or start it with --allowed-host NAME",
            )
        if origin is not None and origin.partition(b"://")[2].lower() != host.lower():
            raise ForeignHost(
                "the Origin header names another site", help="the API takes no requests of other sites' pages"
            )

    def _is_own(self, host: bytes) -> bool:
        text = host.decode("latin-1").lower()
        if text.startswith("["):
            name, _, port = text[1:].partition("]")
            port = port.removeprefix(":")
        else:
            name, _, port = text.partition(":")
        if port and not (port.isascii() and port.isdigit()):
            return False
        return name in self._names or (self._any_address and _address(name) is not None)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
