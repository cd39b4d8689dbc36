"""Django's tasks, from Django 6.0 itself or from the package ``django-tasks`` that earlier ones have instead."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured


def _package() -> str:
    for name in ("django.tasks", "django_tasks"):
        try:
            import_module(name)
        except ImportError:
            continue
        return name
    raise ImproperlyConfigured("Django before 6.0 has no tasks of its own: pip install django-tasks")


PACKAGE = _package()
# Which package they are of is only known at run time, and so are their types.
tasks: Any = import_module(PACKAGE)
base: Any = import_module(f"{PACKAGE}.base")
exceptions: Any = import_module(f"{PACKAGE}.exceptions")
signals: Any = import_module(f"{PACKAGE}.signals")
if TYPE_CHECKING:
    BaseTaskBackend = Any
else:
    BaseTaskBackend = import_module(f"{PACKAGE}.backends.base").BaseTaskBackend
