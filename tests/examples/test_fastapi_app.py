"""The web application as it stands, with its jobs in its own process, and beside a worker of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from roost.sdk.connection import Connection


@pytest.fixture
def api(tmp_path: Path) -> Iterator[TestClient]:
    from examples.fastapi_app import main
    from examples.fastapi_app.jobs import app

    url = f"sqlite:///{tmp_path}/shop.db"
    with app.connected_to(Connection(lambda: url)), TestClient(main.api) as client:
        yield client


def until(client: TestClient, order: int, reason: str | None, state: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        shown: dict[str, Any] = client.get(f"/orders/{order}").json()
        if (shown["state"], shown["reason"]) == (state, reason):
            return shown
        time.sleep(0.01)
    raise AssertionError(f"order {order} is {shown}")


def test_an_order_is_taken_paid_and_booked(api: TestClient) -> None:
    new = {"customer": "ana", "items": ["tea", "cake"]}
    taken = api.post("/orders", json=new, headers={"Idempotency-Key": "k1"})
    assert (taken.status_code, taken.json()["known"]) == (202, False)
    id = taken.json()["order"]
    assert api.post("/orders", json=new, headers={"Idempotency-Key": "k1"}).json() == {"order": id, "known": True}
    assert until(api, id, "event", "waiting")["progress"] == "waits for the payment"
    assert api.post(f"/orders/{id}/payment", json={"paid": True}).json() == {"woken": 1}
    shown = until(api, id, None, "succeeded")
    assert shown["result"] == {"customer": "ana", "total": 10}
    assert api.delete(f"/orders/{id}").status_code == 409


def test_an_order_may_be_cancelled_while_it_waits(api: TestClient) -> None:
    id = api.post("/orders", json={"customer": "ben", "items": ["tea"]}).json()["order"]
    until(api, id, "event", "waiting")
    assert api.delete(f"/orders/{id}").json() == {"state": "cancelled"}
    assert api.get("/orders/999").status_code == 404
    assert api.delete("/orders/999").status_code == 404
