"""Roost for Django: a backend for its tasks, the outbox table as a migration, and a worker command.

    INSTALLED_APPS = [..., "roost.django"]
    TASKS = {"default": {"BACKEND": "roost.django.RoostBackend", "OPTIONS": {"url": "postgresql://…"}}}

Django 6.0 has tasks itself; before that they are the package ``django-tasks``, and either will do.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from roost.django.backend import RoostBackend as RoostBackend


def __getattr__(name: str) -> object:
    # Django imports the application before its settings are ready; the backend comes when it is asked for.
    if name == "RoostBackend":
        from roost.django.backend import RoostBackend

        return RoostBackend
    raise AttributeError(f"module 'roost.django' has no attribute {name!r}")
