"""The webhooks guide's receiver, sent to by Roost and by somebody else."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

import roost
from roost.domain.deliveries import FEWEST_FAILURES, RETRY_MS
from roost.domain.duration import format_duration, parse_duration
from roost.domain.signatures import sign
from roost.embedded import Embedded
from roost.service.dispatcher import NOISE
from tests.docs.documents import guide, module, rows
from tests.docs.test_tour import until

pytestmark = [pytest.mark.feature("webhooks-out"), pytest.mark.feature("webhooks-in")]


@contextmanager
def listening(made: ModuleType) -> Iterator[str]:
    """The URL of the guide's receiver."""
    server = HTTPServer(("127.0.0.1", 0), made.Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def signed(secret: str, seconds: int) -> dict[str, str]:
    signature = sign([secret], "m", seconds, b"{}")
    return {"webhook-id": "m", "webhook-timestamp": str(seconds), "webhook-signature": signature}


def test_the_guides_receiver_takes_what_roost_sends_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROOST_WEBHOOK_ALLOW", "127.0.0.0/8")
    made = module("guide_webhooks", guide("webhooks"), tmp_path)
    with listening(made) as url:
        embedded = Embedded.open(f"sqlite:///{tmp_path}/roost.db")
        embedded.run(embedded.runtime.start_loops())
        with roost.Client(embedded.transport()) as client:
            endpoint = client.webhooks.put("guide", url, events=["failed"])
            made.SECRET = endpoint.secret
            client.webhooks.test("guide")
            until(lambda: len(made.seen) == 1, lambda: "the ping did not come")
            (delivery,) = client.webhooks.deliveries("guide").deliveries
            until(lambda: client.webhooks.get("guide").succeeded == 1, lambda: "it was not accepted")
            client.webhooks.replay(delivery.id)
            until(lambda: client.webhooks.get("guide").succeeded == 2, lambda: "it was not sent again")
        embedded.release()
        assert made.seen == {delivery.message}
        assert capsys.readouterr().out == "ping\n"

        now = int(made.time.time())
        assert endpoint.secret is not None
        good = signed(endpoint.secret, now)
        assert post(url, b"{ }", good) == 400
        assert post(url, b"{}", {**good, "webhook-id": "n"}) == 400
        assert post(url, b"{}", signed(endpoint.secret, now - 400)) == 400
        assert post(url, b"{}", {}) == 400


def test_the_numbers_of_the_guide() -> None:
    text = guide("webhooks")
    pauses = text[text.index("after 5 s,") : text.index("each up to a fifth")]
    told = (
        pauses.replace("after ", "").replace(" min", "m").replace(" s", "s").replace(" h", "h").replace(" and ", ", ")
    )
    assert [parse_duration(part.strip()) for part in told.split(",") if part.strip()] == list(RETRY_MS)
    assert all(f"`{name}`" in text for name in NOISE)
    assert FEWEST_FAILURES == 10
    assert format_duration(5 * 86_400_000) == "5d"
    assert [row[0] for row in rows(text, "scheme")] == ["`standard`", "`github`", "`stripe`", "`none`"]
