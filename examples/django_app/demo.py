"""Orders and their mails, the mail only where the order is there: ``python -m examples.django_app.demo``."""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta

import django
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone


def main() -> None:
    """Place two orders, of which one fails, and run the worker until there is nothing left to do."""
    from examples.django_app.shop.models import Order
    from examples.django_app.shop.tasks import confirm

    call_command("migrate", verbosity=0)

    with transaction.atomic():
        order = Order.objects.create(customer="ana")
        mail = confirm.enqueue(order.id)
        later = confirm.using(run_after=timezone.now() + timedelta(days=1)).enqueue(order.id)
    print(f"ana's mail is {mail.status.lower()}")

    try:
        with transaction.atomic():
            order = Order.objects.create(customer="ben")
            confirm.enqueue(order.id)
            raise RuntimeError("the card was refused")
    except RuntimeError as error:
        print(f"ben has no order: {error}")

    call_command("roost_worker", until_idle=True)
    mail.refresh()
    print(f"ana's mail is {mail.status.lower()}: {mail.return_value}")
    later.refresh()
    print(f"ana's reminder is {later.status.lower()}")
    print(f"orders: {[(one.customer, one.mailed) for one in Order.objects.all()]}")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_app.settings")
    os.environ.setdefault("SHOP_FOLDER", tempfile.mkdtemp(prefix="shop-"))
    django.setup()
    main()
