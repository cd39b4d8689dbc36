"""Where requests that users ask for may go: what keeps a webhook from reaching what only this machine can reach.

Python's own notion of a global address lets tunnels to private ones through, so the list of what is denied is ours. An
address that carries an IPv4 address inside (mapped, NAT64, 6to4) is judged by that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from roost.errors import ConfigurationError, InvalidRequest

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

PORTS = {"http": 80, "https": 443}
LONGEST_URL = 2000

_DENIED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_GLOBAL_V6 = IPv6Network("2000::/3")
_DENIED_V6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!$-;=?-Z_a-z~]*)?"
)
"""What is sent to: no user and password, no fragment, ASCII alone; ``path`` with its query."""
_LISTED = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")


class Target(msgspec.Struct, frozen=True):
    """A URL in its parts; ``host`` without brackets, ``path`` with the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class Allowed:
    """Internal targets that may be reached all the same: networks, and names with or without a port.

    An entry is a network (``10.0.0.0/8``), an address (``127.0.0.1``), ``host:port``, ``[address]:port`` or a name. A
    network opens all its ports; a name or address without a port opens 80 and 443 of names, all ports of addresses.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._networks: list[IpNetwork] = []
        self._places: set[tuple[str, int]] = set()
        for entry in entries:
            self._add(entry.strip())

    def network(self, address: IpAddress) -> bool:
        """Whether ``address`` lies in a listed network."""
        return any(address in network for network in self._networks if network.version == address.version)

    def place(self, host: str, port: int) -> bool:
        """Whether the name or address itself is listed with this port."""
        return (host.lower().rstrip("."), port) in self._places

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry))
            return
        except ValueError:
            found = _LISTED.fullmatch(entry)
        port = None if found is None or found["port"] is None else int(found["port"])
        if found is None or (port is not None and not 0 < port < 65536) or (found["address"] and port is None):
            raise ConfigurationError(
                f"{entry[:80]!r} is no target that can be allowed",
                path="webhook_allow",
                help="a network such as 10.0.0.0/8, an address, a name, or host:port",
            )
        host = str(ip_address(found["address"])) if found["address"] else found["name"].lower().rstrip(".")
        self._places.update((host, each) for each in ((port,) if port is not None else PORTS.values()))


NOTHING = Allowed()


def parse(url: str, allowed: Allowed, path: str = "url") -> Target:
    """The parts of ``url``; raises `InvalidRequest` with ``path`` for one that must not be sent to.

    ``https`` alone, but for listed targets; ports 80 and 443, but for listed ones. What a name stands for is judged
    when it is resolved, by `check_addresses`.
    """
    found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
    if found is None:
        raise InvalidRequest(
            "not a URL that can be sent to",
            path=path,
            help="https://host/path in ASCII, without user, password and fragment",
        )
    scheme, host = found["scheme"], found["host"].strip("[]")
    port = int(found["port"]) if found["port"] else PORTS[scheme]
    literal = address_of(host)
    if "[" in found["host"]:
        if not isinstance(literal, IPv6Address):
            raise InvalidRequest("the address is malformed", path=path, help="write it as [2001:db9::1]")
        host = str(literal)
    target = Target(scheme, host, port, found["path"] or "/")
    listed = allowed.place(host, port) or (literal is not None and allowed.network(unwrapped(literal)))
    if not 0 < port < 65536 or (port not in PORTS.values() and not listed):
        raise InvalidRequest(f"port {port} is not allowed", path=path, help=_ALLOW)
    if scheme == "http" and not listed:
        raise InvalidRequest("http is not allowed, https is", path=path, help=_ALLOW)
    if literal is not None:
        check_addresses(target, [literal], allowed, path)
    return target


_ALLOW = "the server's --webhook-allow (ROOST_WEBHOOK_ALLOW) lists internal targets, such as 10.0.0.0/8 or host:port"


def check_addresses(target: Target, addresses: Sequence[IpAddress], allowed: Allowed, path: str = "url") -> None:
    """Raise `InvalidRequest` unless all of ``addresses`` may be connected to."""
    if allowed.place(target.host, target.port):
        return
    for address in addresses:
        inner = unwrapped(address)
        if allowed.network(inner):
            continue
        if is_denied(inner):
            raise InvalidRequest(f"{target.host} leads to {address}, which is not public", path=path, help=_ALLOW)
        if target.scheme == "http" or target.port not in PORTS.values():
            raise InvalidRequest(f"{target.host} leads to {address}, which is not listed", path=path, help=_ALLOW)


def address_of(host: str) -> IpAddress | None:
    """The address ``host`` writes out; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def unwrapped(address: IpAddress) -> IpAddress:
    """The IPv4 address inside a mapped, NAT64 or 6to4 one; else the address."""
    if isinstance(address, IPv4Address):
        return address
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(number & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address((number >> 80) & 0xFFFFFFFF)
    return address


def is_denied(address: IpAddress) -> bool:
    """Whether nobody who is not allowed may be sent to ``address``, which is unwrapped already."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in _DENIED_V4)
    return address not in _GLOBAL_V6 or any(address in network for network in _DENIED_V6)
