"""What the shop does later."""

from __future__ import annotations

from typing import Any

from examples.django_app.shop.models import Order
from roost.django.compat import tasks


@tasks.task(queue_name="mail", priority=10)
def confirm(order: int) -> str:
    """Thank for an order."""
    found = Order.objects.get(id=order)
    found.mailed = True
    found.save()
    return f"thanks, {found.customer}"


@tasks.task(takes_context=True)
def attempts(context: Any, text: str) -> list[object]:
    """Say how often it was tried."""
    return [context.attempt, text]


@tasks.task()
async def double(number: int) -> int:
    """On the worker's event loop."""
    return number * 2


@tasks.task()
def fail() -> None:
    """Does not work."""
    raise ValueError("no such luck")
