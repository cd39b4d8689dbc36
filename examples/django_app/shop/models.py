"""What the shop keeps."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Somebody wants something."""

    customer = models.CharField(max_length=100)
    mailed = models.BooleanField(default=False)

    class Meta:
        app_label = "shop"
