"""The application for ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class RoostConfig(AppConfig):
    """Brings the outbox table and ``manage.py roost_worker``."""

    name = "roost.django"
    label = "roost"
    verbose_name = "Roost"
