"""``roost webhooks`` and ``roost sources`` against a real server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Roost

pytestmark = pytest.mark.feature("webhooks-out")

URL = "https://receiver.invalid/hook"


def told(roost: Roost, *words: str) -> Any:
    done = roost(*words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_endpoints_life(roost: Roost) -> None:
    filters = ("--event", "webhook_*", "--queue", "none.*", "--tag", "tenant=acme*")
    made = roost("webhooks", "put", "cli", URL, *filters, "--ed25519")
    assert made.returncode == 0, made.stderr
    assert "whsec_" in made.stdout
    assert "not shown again" in made.stderr
    shown = roost("webhooks", "show", "cli")
    assert "whsec_" not in shown.stdout
    assert "webhook_*" in shown.stdout
    assert "tenant=acme*" in shown.stdout
    assert "whpk_" in shown.stdout
    assert [webhook["name"] for webhook in told(roost, "webhooks", "list")] == ["cli"]

    ping = told(roost, "webhooks", "test", "cli")
    for _ in range(200):
        delivery = told(roost, "webhooks", "delivery", str(ping["id"]))
        if delivery.get("tries"):
            break
        time.sleep(0.05)
    assert "no connection" in delivery["tries"][0]["error"]
    assert delivery["state"] == "pending"
    listed = roost("webhooks", "deliveries", "cli", "--state", "pending")
    assert "ping" in listed.stdout
    assert delivery["message"] in roost("webhooks", "delivery", str(ping["id"])).stdout
    assert told(roost, "webhooks", "replay", str(ping["id"]))["state"] == "pending"
    assert told(roost, "webhooks", "replay", "cli", "--since", "2026-01-01T00:00:00Z") == {"count": 0}

    assert told(roost, "webhooks", "rotate", "cli", "--overlap", "1h")["secret"].startswith("whsec_")
    assert told(roost, "webhooks", "disable", "cli")["disabled_reason"] == "requested"
    assert "disabled (requested)" in roost("webhooks", "list").stdout
    assert "enabled" not in told(roost, "webhooks", "enable", "cli", "--skip")  # a default is left out
    assert told(roost, "webhooks", "delete", "cli") == {"name": "cli"}
    assert roost("webhooks", "show", "cli").returncode == 3


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["put", "bad", "http://127.0.0.1/"], 1, "https"),
        (["put", "bad", "https://10.0.0.1/"], 1, "not public"),
        (["put", "bad", URL, "--event", "a b"], 1, "events"),
        (["put", "bad", URL, "--event", "fialed"], 1, "did you mean failed?"),
        (["put", "bad", URL, "--tag", "a b=c"], 1, "tags"),
        (["replay", "cli"], 2, "--since"),
        (["replay", "cli", "--since", "yesterday"], 1, "since"),
        (["test", "nobody"], 3, "nobody"),
        (["delivery", "999999"], 3, "999999"),
    ],
)
def test_refusals(roost: Roost, words: list[str], code: int, message: str) -> None:
    done = roost("webhooks", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr


@pytest.mark.feature("webhooks-in")
def test_a_sources_life(roost: Roost, place: Path) -> None:
    made = roost("sources", "put", "shop", "--queue", "orders")
    assert "whsec_" in made.stdout
    assert "/api/v1/webhooks/orders" in made.stdout
    (place / "secret.txt").write_text("a github secret\n")
    words = ["sources", "put", "gh", "--queue", "deploys", "--scheme", "github", "--kind", "gh.{event}"]
    assert told(roost, *words, "--secret-file", "secret.txt")["secrets"] == 1
    both = roost(*words, "--secret-file", "secret.txt", "--secret-file", "-", "-o", "json", stdin="another secret")
    assert json.loads(both.stdout)["secrets"] == 2
    assert told(roost, *words)["secrets"] == 2
    assert [source["name"] for source in told(roost, "sources", "list")] == ["gh", "shop"]
    assert "secret" not in roost("sources", "show", "gh").stdout.replace("secrets", "")
    assert roost(*words, "--secret-file", "nowhere.txt").returncode == 2
    assert roost("sources", "put", "st", "--queue", "q", "--scheme", "stripe").returncode == 1
    for name in ("gh", "shop"):
        assert roost("sources", "delete", name).returncode == 0
    assert roost("sources", "show", "gh").returncode == 3
