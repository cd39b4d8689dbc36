"""The settings: rows in SQLite, or in PostgreSQL where ``SHOP_POSTGRES`` is a database; jobs where ``ROOST_URL`` says.

With both the same PostgreSQL database an order and its mail are one transaction; else the mail waits in the outbox
table, and the worker brings it to Roost.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = Path(os.environ.get("SHOP_FOLDER", Path(__file__).parent))
SECRET_KEY = "for an example only"
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["roost.django", "examples.django_app.shop"]

if postgres := os.environ.get("SHOP_POSTGRES"):
    _url = urlsplit(postgres)
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _url.path[1:],
            "USER": _url.username,
            "HOST": _url.hostname,
            "PORT": _url.port,
        }
    }
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "shop.sqlite3"}}

TASKS = {
    "default": {
        "BACKEND": "roost.django.RoostBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"url": os.environ.get("ROOST_URL", f"sqlite:///{FOLDER}/roost.db")},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
