"""The application."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """See the package."""

    name = "examples.django_app.shop"
    label = "shop"
