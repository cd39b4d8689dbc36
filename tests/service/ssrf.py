"""URLs that lead inside by every way known: none of them may be sent to."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import product

INSIDE_V4 = (
    "0.0.0.0",  # noqa: S104 - asked for, not bound to
    "127.0.0.1", "127.1.2.3", "127.255.255.254", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1",
    "100.127.255.254", "169.254.169.254", "169.254.0.1", "172.16.0.1", "172.31.255.254", "192.0.0.9", "192.0.0.170",
    "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.254", "198.18.0.1", "198.19.255.254", "198.51.100.7",
    "203.0.113.7", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
INSIDE_V6 = (
    "::", "::1", "::2", "::127.0.0.1", "::ffff:0:127.0.0.1", "fc00::1", "fd00::1", "fdff:ffff::1", "fe80::1",
    "febf::1", "fec0::1", "ff02::1", "ff05::2", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2001:10::1",
    "2001:1ff::1", "3fff::1", "3fff:fff::1", "5f00::1", "100::1", "64:ff9b:1::1", "64:ff9b:1::7f00:1", "4000::1",
    "8000::1", "1fff::1",
)  # fmt: skip


def wrapped(address: str) -> list[str]:
    """An IPv4 address inside IPv6 ones that gateways and hosts unwrap."""
    number = int(IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    return [
        f"::ffff:{address}",
        f"::ffff:{high:x}:{low:x}",
        f"0:0:0:0:0:ffff:{high:x}:{low:x}",
        f"64:ff9b::{high:x}:{low:x}",
        f"64:ff9b::{address}",
        f"2002:{high:x}:{low:x}::",
        f"2002:{high:x}:{low:x}::1",
    ]


WRITTEN_OTHERWISE = (
    "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "017700000001", "0177.0.0.1", "0177.0.0.01",
    "0", "0x0", "00.00.00.00", "3232235521", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "127.0.0.1.",
    "localhost", "LOCALHOST", "localhost.", "10.1", "0xA.1", "192.168.1", "0300.0250.1",
)  # fmt: skip
"""Hosts that the system's resolver turns into addresses, or names that lead home."""

MALFORMED = (
    "https://user@example.com/", "https://user:pass@127.0.0.1/", "https://127.0.0.1@example.com/",
    "https://example.com@127.0.0.1/", "https://example.com#@127.0.0.1/", "https://example.com\\@127.0.0.1/",
    "https://127.0.0.1\\.example.com/", "https://example.com /", "https://example.com\t/", "https://example.com\n/",
    "https://example.com/\r\nhost: other", "https://example.com/ HTTP/1.1", "https://example.com/a b",
    "https://example.com/#fragment", "https:///path", "https://", "https:example.com", "https:/example.com",
    "//example.com/",
    "example.com", "", " https://example.com/", "https://example.com/\0", "https://exa\0mple.com/", "ftp://example.com/",
    "file:///etc/passwd", "gopher://127.0.0.1:70/_x", "dict://127.0.0.1:11211/", "javascript:alert(1)", "data:,x",
    "unix:///var/run/docker.sock", "http+unix://%2Frun%2Fdocker.sock/", "https://[::1", "https://::1/",
    "https://[::1]x/",
    "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[127.0.0.1]/", "https://[::ffff:127.0.0.1.5]/",
    "https://①②⑦.⓪.⓪.①/", "https://\uff11\uff12\uff17.0.0.1/", "https://127。0。0。1/", "https://ⓔⓧⓐⓜⓟⓛⓔ.com/", "https://bücher.example/",
    "https://%6c%6fcalhost/", "https://127.0.0.1%2f@example.com/", "https://exam%70le.com/", "https://example.com:443x/",
    "https://example.com:-1/", "https://example.com:99999/", "https://example.com:0/", "https://example.com:/x y",
    "https://{host}/", "https://*.example.com/", "https://ex^ample.com/", "https://example.com,127.0.0.1/",
    "https://example.com;127.0.0.1/", "HTTPS://example.com/", "hTTp://127.0.0.1/",
    "https://" + "a" * 3000 + ".example/",
)  # fmt: skip

OTHER_PORTS = tuple(
    f"https://93.184.215.14:{port}/" for port in (21, 22, 23, 25, 53, 110, 143, 465, 587, 6379, 8080, 8443, 9200, 11211)
)
PLAIN = ("http://93.184.215.14/", "http://example.com/", "http://93.184.215.14:443/")


def urls(port: int) -> list[str]:
    """All of them; those that name an address also with ``port``, where a canary listens."""
    hosts = [*INSIDE_V4, *WRITTEN_OTHERWISE]
    hosts += [f"[{address}]" for address in INSIDE_V6]
    hosts += [f"[{address}]" for inside in ("127.0.0.1", "169.254.169.254", "10.0.0.1") for address in wrapped(inside)]
    found = [f"{scheme}://{host}{at}/hook" for (scheme, at), host in product(
        (("https", ""), ("http", f":{port}"), ("https", f":{port}")), hosts
    )]  # fmt: skip
    return [*found, *MALFORMED, *OTHER_PORTS, *PLAIN]
