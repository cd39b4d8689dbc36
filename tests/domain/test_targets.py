"""Where a webhook may go: judged by the address, whatever the URL looks like."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from roost.domain.targets import NOTHING, Allowed, check_addresses, is_denied, parse, unwrapped
from roost.errors import ConfigurationError, InvalidRequest
from tests.service.ssrf import INSIDE_V4, INSIDE_V6, wrapped

pytestmark = pytest.mark.feature("webhooks-out")

OUTSIDE = ("93.184.215.14", "8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.0.1", "100.128.0.1",
           "2606:4700::1111", "2a00:1450:4001::1", "2400:cb00::1", "2002:5db8:d70e::1", "64:ff9b::5db8:d70e",
           "::ffff:93.184.215.14")  # fmt: skip


@pytest.mark.parametrize("address", [*INSIDE_V4, *INSIDE_V6, *(one for v4 in INSIDE_V4 for one in wrapped(v4))])
def test_inside(address: str) -> None:
    assert is_denied(unwrapped(ip_address(address)))


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside(address: str) -> None:
    assert not is_denied(unwrapped(ip_address(address)))


def test_one_bad_address_spoils_all() -> None:
    target = parse("https://example.com/x", NOTHING)
    good, bad = ip_address("93.184.215.14"), ip_address("10.0.0.1")
    check_addresses(target, [good], NOTHING)
    for addresses in ([bad], [good, bad], [bad, good]):
        with pytest.raises(InvalidRequest) as refused:
            check_addresses(target, addresses, NOTHING)
        assert refused.value.path == "url"


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        ("https://example.com/a?b=c&d=%20", "example.com", 443, "/a?b=c&d=%20", "example.com"),
        ("https://example.com:443/", "example.com", 443, "/", "example.com"),
        ("https://example.com:80/", "example.com", 80, "/", "example.com:80"),
        ("https://[2606:4700::1111]/x", "2606:4700::1111", 443, "/x", "[2606:4700::1111]"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
    ],
)
def test_what_is_good(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = parse(url, NOTHING)
    assert (target.host, target.port, target.path, target.authority) == (host, port, path, authority)


@pytest.mark.parametrize(
    ("entries", "allowed", "refused"),
    [
        (["10.0.0.0/8"], ["http://10.1.2.3:9000/", "https://10.1.2.3/"], ["http://11.1.2.3/", "http://127.0.0.1/"]),
        (["127.0.0.1:9000"], ["http://127.0.0.1:9000/"], ["http://127.0.0.1:9001/", "http://127.0.0.2:9000/"]),
        (["127.0.0.1"], ["http://127.0.0.1:1/"], ["http://127.0.0.2:1/"]),
        (["hooks.corp:8443"], ["https://hooks.corp:8443/", "http://HOOKS.corp.:8443/"], ["https://hooks.corp:8444/"]),
        (["hooks.corp"], ["http://hooks.corp/", "https://hooks.corp/"], ["https://hooks.corp:8443/", "http://x.corp/"]),
        (["[::1]:9000"], ["http://[::1]:9000/", "http://[0:0::1]:9000/"], ["http://[::1]:9001/"]),
        (["fd00::/8"], ["http://[fd00::7]:1/"], ["http://[fc00::7]:1/"]),
        (["127.0.0.0/8"], ["http://[::ffff:127.0.0.1]:5/", "http://[64:ff9b::7f00:1]:5/"], ["http://[::1]:5/"]),
    ],
)
def test_what_is_allowed_on_purpose_and_no_more(entries: list[str], allowed: list[str], refused: list[str]) -> None:
    targets = Allowed(entries)
    for url in allowed:
        parse(url, targets)
    for url in refused:
        with pytest.raises(InvalidRequest):
            parse(url, targets)


def test_a_name_that_is_not_listed_may_lead_to_a_listed_network_by_https_alone() -> None:
    targets = Allowed(["10.0.0.0/8"])
    check_addresses(parse("https://hooks.corp/", targets), [ip_address("10.0.0.7")], targets)
    with pytest.raises(InvalidRequest):
        parse("http://hooks.corp/", targets)
    with pytest.raises(InvalidRequest):
        check_addresses(parse("https://hooks.corp/", targets), [ip_address("127.0.0.1")], targets)


@pytest.mark.parametrize("entry", ["", "10.0.0.1/8", "host:", "host:0", "host:70000", "[::1]", "a b", "http://x/", "*"])
def test_entries_that_cannot_be_meant(entry: str) -> None:
    with pytest.raises(ConfigurationError):
        Allowed([entry])
