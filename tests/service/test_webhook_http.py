"""One POST to a receiver of every sort, over real sockets; and to nobody who must not be reached."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from roost.domain.targets import NOTHING, Allowed, IpAddress
from roost.service.webhook_http import EXCERPT, Poster, Undelivered
from tests.service.ssrf import urls

pytestmark = pytest.mark.feature("webhooks-out")

LOOPBACK = Allowed(["127.0.0.0/8"])
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that does what ``handle`` does with each connection."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def answering(text: str) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.encode("latin-1"))
        await writer.drain()
        writer.close()

    return handle


def resolving(*answers: list[str]) -> Callable[[str, int], Awaitable[list[IpAddress]]]:
    """A resolver that says something else each time, the last for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[IpAddress]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [ip_address(text) for text in found]

    return resolve


class Canary:
    """Listens on every local address at one port; counts who comes."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Canary:
        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            writer.close()

        self._servers.append(await asyncio.start_server(count, "0.0.0.0", 0))  # noqa: S104 - a canary sits everywhere
        self.port = self._servers[0].sockets[0].getsockname()[1]
        if socket.has_ipv6:
            bound = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind(("::", self.port))
            self._servers.append(await asyncio.start_server(count, sock=bound))
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()


async def test_no_url_of_the_corpus_reaches_anybody() -> None:
    async with Canary() as canary:
        poster = Poster(NOTHING, seconds=5)
        corpus = urls(canary.port)
        assert len(corpus) >= 200
        for url in corpus:
            with pytest.raises(Undelivered) as refused:
                await poster.post(url, {}, b"{}")
            text = str(refused.value)
            assert text.startswith("refused") or "Name or service" in text or "name resolution" in text, (url, text)
        await asyncio.sleep(0.05)
        assert canary.connections == 0


async def test_the_canary_sings_where_its_address_is_allowed() -> None:
    async with Canary() as canary:
        with pytest.raises(Undelivered):
            await Poster(LOOPBACK, seconds=5).post(f"http://127.0.0.1:{canary.port}/", {}, b"{}")
        assert canary.connections == 1


async def test_a_name_is_asked_once_and_what_it_says_later_does_not_count() -> None:
    """DNS rebinding: the address that was judged is the one that is connected to."""
    asked = []

    async def resolve(host: str, port: int) -> list[IpAddress]:
        asked.append(host)
        return [ip_address("192.0.2.77" if len(asked) == 1 else "127.0.0.1")]

    async with Canary() as canary:
        # 192.0.2.77 is nobody's; allowed here, so that it is the connection that decides.
        targets = Allowed(["192.0.2.0/24", f"home.example:{canary.port}"])
        poster = Poster(Allowed(["192.0.2.0/24"]), resolve=resolve, seconds=0.3)
        with pytest.raises(Undelivered):
            await poster.post("https://home.example/", {}, b"{}")
        assert asked == ["home.example"]
        assert canary.connections == 0
        with pytest.raises(Undelivered, match="not public"):
            await poster.post("https://home.example/", {}, b"{}")
        assert canary.connections == 0
        with pytest.raises(Undelivered, match="lost"):
            await Poster(targets, resolve=resolve, seconds=2).post(f"http://home.example:{canary.port}/", {}, b"{}")
        assert canary.connections == 1


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["127.0.0.1", "93.184.215.14"]])
async def test_all_addresses_of_a_name_must_be_public(answers: list[str]) -> None:
    async with Canary() as canary:
        with pytest.raises(Undelivered, match="not public"):
            await Poster(NOTHING, resolve=resolving(answers)).post("https://home.example/", {}, b"{}")
        assert canary.connections == 0


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with Canary() as canary:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{canary.port}/\r\ncontent-length: 0\r\n\r\n"
        async with receiver(answering(moved)) as port:
            answer = await Poster(LOOPBACK).post(f"http://127.0.0.1:{port}/", {}, b"{}")
        assert answer.status == 307
        assert canary.connections == 0


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Canary() as canary, receiver(answering("HTTP/1.1 204 OK\r\n\r\n")) as port:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        answer = await Poster(LOOPBACK).post(f"http://127.0.0.1:{port}/", {}, b"{}")
        assert (answer.status, canary.connections) == (204, 0)


async def test_what_is_sent() -> None:
    got: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        got.append(await reader.readexactly(9))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with receiver(handle) as port:
        answer = await Poster(LOOPBACK).post(
            f"http://127.0.0.1:{port}/a?b", {"webhook-id": "m"}, '{"a":"ä"}'[:8].encode()
        )
    head = got[0].decode().split("\r\n")
    assert head[0] == "POST /a?b HTTP/1.1"
    assert f"host: 127.0.0.1:{port}" in head
    assert "webhook-id: m" in head
    assert "content-length: 9" in head
    assert (answer.status, answer.excerpt) == (200, "ok")


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" + b"x-slow: 1\r\n" * 1000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def flooding(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("handle", "told"),
    [
        (silent, "no answer within 0.5 s"),
        (dripping, "no answer within 0.5 s"),
        (resetting, "lost"),
        (flooding, "not HTTP"),
        (endless_headers, "too large"),
        (answering(""), "without an answer"),
        (answering("SSH-2.0-OpenSSH\r\n"), "not HTTP"),
        (answering("HTTP/1.1 200"), "lost|not HTTP"),
    ],
    ids=["silent", "dripping", "resetting", "flooding", "headers", "nothing", "ssh", "half a line"],
)
async def test_receivers_that_misbehave(handle: Handle, told: str) -> None:
    async with receiver(handle) as port:
        began = time.monotonic()
        with pytest.raises(Undelivered, match=told):
            await Poster(LOOPBACK, seconds=0.5).post(f"http://127.0.0.1:{port}/", {}, b"{}")
        assert time.monotonic() - began < 20


async def test_a_body_that_never_ends_is_cut_and_its_status_counts() -> None:
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            sent += 4096
            await writer.drain()

    async with receiver(handle) as port:
        answer = await Poster(LOOPBACK, seconds=5).post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert (answer.status, answer.retry_after) == (503, "7")
    assert len(answer.excerpt) == EXCERPT
    assert sent < 16 * 2**20  # what the sockets' buffers took, no more


async def test_an_answer_whose_body_hangs_is_an_answer() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await reader.read()
        await asyncio.sleep(30)

    async with receiver(handle) as port:
        began = time.monotonic()
        answer = await Poster(LOOPBACK, seconds=60).post(f"http://127.0.0.1:{port}/", {}, b"{}")
        assert (answer.status, answer.excerpt) == (200, "half")
        assert time.monotonic() - began < 30


async def test_what_is_kept_of_an_answer_can_be_stored_and_shown() -> None:
    evil = "HTTP/1.1 400 No\r\n\r\n\x00\x1b[31m\xff" + "ü" * 3000
    async with receiver(answering(evil)) as port:
        answer = await Poster(LOOPBACK).post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert answer.excerpt.startswith("��[31m")
    assert len(answer.excerpt.encode()) <= EXCERPT


async def test_an_early_hint_is_no_answer() -> None:
    hinted = "HTTP/1.1 103 Early\r\nretry-after: 9\r\n\r\nHTTP/1.1 204 OK\r\n\r\n"
    async with receiver(answering(hinted)) as port:
        answer = await Poster(LOOPBACK).post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert (answer.status, answer.retry_after) == (204, None)


async def test_the_second_address_is_tried_where_the_first_refuses() -> None:
    async with receiver(answering("HTTP/1.1 204 OK\r\n\r\n")) as port:
        targets = Allowed([f"two.example:{port}"])
        poster = Poster(targets, resolve=resolving(["127.0.0.9", "127.0.0.1"]))
        assert (await poster.post(f"http://two.example:{port}/", {}, b"{}")).status == 204


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of hooks.example, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def test_the_certificate_must_be_the_names(certificate: tuple[Path, Path], server_tls: ssl.SSLContext) -> None:
    """The connection goes to an address; what is checked, and asked for, is the name."""
    asked: list[str | None] = []
    server_tls.sni_callback = lambda connection, name, context: asked.append(name)
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    async with receiver(answering("HTTP/1.1 204 OK\r\n\r\n"), server_tls) as port:
        targets = Allowed([f"hooks.example:{port}", f"other.example:{port}"])
        resolve = resolving(["127.0.0.1"])
        trusting = Poster(targets, resolve=resolve, tls=trust)
        assert (await trusting.post(f"https://hooks.example:{port}/", {}, b"{}")).status == 204
        assert asked == ["hooks.example"]
        with pytest.raises(Undelivered, match="not trusted"):
            await trusting.post(f"https://other.example:{port}/", {}, b"{}")
        with pytest.raises(Undelivered, match="not trusted"):
            await Poster(targets, resolve=resolve).post(f"https://hooks.example:{port}/", {}, b"{}")


async def test_tls_that_does_not_begin_or_is_none() -> None:
    for handle, told in ((silent, "no answer within"), (answering("HTTP/1.1 400 plain\r\n\r\n"), "TLS|lost|no answer")):
        async with receiver(handle) as port:
            with pytest.raises(Undelivered, match=told):
                await Poster(LOOPBACK, seconds=0.5).post(f"https://127.0.0.1:{port}/", {}, b"{}")


async def test_a_name_server_that_hangs_holds_nobody_else_up() -> None:
    async def resolve(host: str, port: int) -> list[IpAddress]:
        if host == "slow.example":
            await asyncio.sleep(60)
        return [ip_address("127.0.0.1")]

    async with receiver(answering("HTTP/1.1 204 OK\r\n\r\n")) as port:
        poster = Poster(Allowed([f"fast.example:{port}", "slow.example"]), resolve=resolve, seconds=3)
        slow = [asyncio.ensure_future(poster.post("https://slow.example/", {}, b"")) for _ in range(50)]
        assert (await poster.post(f"http://fast.example:{port}/", {}, b"{}")).status == 204
        assert not any(each.done() for each in slow)
        for result in await asyncio.gather(*slow, return_exceptions=True):
            assert isinstance(result, Undelivered)
