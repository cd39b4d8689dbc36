"""A shop's rows in a database of its own, its mails in Roost: ``python -m examples.outbox``.

Two ways to write the same: SQLAlchemy's session, and Python's own sqlite3. The relay and the worker run beside.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import roost

FOLDER = Path(tempfile.mkdtemp(prefix="shop-"))
SHOP = FOLDER / "shop.db"
app = roost.App(f"sqlite:///{FOLDER}/roost.db")
engine = create_engine(f"sqlite:///{SHOP}")


class Base(DeclarativeBase):
    """The shop's tables."""


class Order(Base):
    """Somebody wants something."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]


@app.job(queue="mail")
async def thank(order: int, *, customer: str) -> str:
    """Write a mail."""
    print(f"thanks for order {order}, {customer}", flush=True)
    return customer


def buy(customer: str) -> None:
    """With SQLAlchemy."""
    with Session(engine) as session:
        order = Order(customer=customer)
        session.add(order)
        session.flush()
        with roost.outbox(session) as tx:
            tx.enqueue(thank, order.id, customer=customer)
        if customer == "mallory":
            raise PermissionError("the card was refused")
        session.commit()


def buy_plainly(customer: str) -> None:
    """With sqlite3."""
    connection = sqlite3.connect(SHOP)
    with connection:
        order = connection.execute("INSERT INTO orders (customer) VALUES (?)", (customer,)).lastrowid
        with roost.outbox(connection) as tx:
            tx.enqueue(thank, order, customer=customer)
    connection.close()


async def main() -> None:
    """Three orders, of which one fails; two mails."""
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        roost.outbox.create_table(connection)

    relay = roost.outbox.Relay(f"sqlite:///{SHOP}", app.url)
    bringing = asyncio.create_task(relay.run())
    worker = await app.worker()
    working = asyncio.create_task(worker.run())

    await asyncio.to_thread(buy, "ana")
    await asyncio.to_thread(buy_plainly, "ben")
    try:
        await asyncio.to_thread(buy, "mallory")
    except PermissionError as error:
        print(f"mallory has no order: {error}", flush=True)

    while len(done := (await app.client.jobs.list(state=["succeeded"])).jobs) < 2:
        await asyncio.sleep(0.02)
    print(f"{len(done)} mails, {relay.delivered} jobs brought", flush=True)

    relay.stop()
    worker.stop()
    await asyncio.gather(bringing, working)
    await app.aclose()
    engine.dispose()
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    asyncio.run(main())
