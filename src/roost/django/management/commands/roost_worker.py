"""``manage.py roost_worker``: run the tasks, and bring in what waits in the outbox."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections, transaction

from roost.cli.running import run_worker
from roost.django.backend import RoostBackend
from roost.django.compat import tasks
from roost.django.working import TaskRegistry
from roost.domain.duration import parse_duration
from roost.errors import RoostError
from roost.outboxes import direct, table
from roost.outboxes.links import DjangoLink
from roost.outboxes.places import Place, SqlitePlace, postgres
from roost.outboxes.relay import Relay

log = logging.getLogger("roost.outbox")

KEEP = "7d"
"""How long delivered rows stay, so that results are found by the id ``enqueue`` gave."""


class Command(BaseCommand):
    """See this module."""

    help = "Run the tasks of a Roost backend. SIGTERM or Ctrl-C drains, a second one ends now."

    def add_arguments(self, parser: Any) -> None:
        """The command's options."""
        parser.add_argument("--backend", default="default", help="The alias in TASKS (default).")
        parser.add_argument("--queues", help="Take from these, with commas, the first ones first; else the backend's.")
        parser.add_argument("--concurrency", type=int, default=10, help="Tasks at a time (10).")
        parser.add_argument("--grace", default="10s", help="How long running tasks may finish (10s).")
        parser.add_argument("--until-idle", action="store_true", help="End when nothing is ready any more.")
        parser.add_argument("--no-relay", action="store_true", help="Leave the outbox to another process.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until stopped; raises `CommandError` with Roost's words for what cannot be."""
        backend = tasks.task_backends[options["backend"]]
        if not isinstance(backend, RoostBackend):
            raise CommandError(f"TASKS[{options['backend']!r}] is no roost.django.RoostBackend")
        try:
            code = self._run(backend, options)
        except RoostError as error:
            raise CommandError(str(error)) from error
        if code:
            sys.exit(code)

    def _run(self, backend: RoostBackend, options: dict[str, Any]) -> int:
        name = f"{socket.gethostname()}-{os.getpid()}"
        registry = TaskRegistry(backend, name)
        registry.discover()
        backend.app.registry = registry
        grace_ms = parse_duration(options["grace"], path="grace")
        queues = (
            options["queues"].split(",")
            if options["queues"]
            else sorted(backend.queues or {"default"} | registry.queues)
        )
        relay = None if options["no_relay"] else _relay(backend)
        bringing = threading.Thread(target=_bring, args=(relay,), name="roost-relay", daemon=True)
        if relay is not None:
            if options["until_idle"]:
                relay.run_until_empty()
            else:
                bringing.start()
        try:
            return run_worker(
                backend.app,
                url=None,
                queues=queues,
                concurrency=options["concurrency"],
                lease="15s",
                grace=grace_ms / 1000,
                name=name,
                until="idle" if options["until_idle"] else "stopped",
            )
        finally:
            if relay is not None and bringing.is_alive():
                relay.stop()
                bringing.join()


def _bring(relay: Relay) -> None:
    try:
        relay.run_sync()
    except RoostError as error:
        log.error("what waits in the outbox is not brought: %s", error)


def _relay(backend: RoostBackend) -> Relay | None:
    """What empties the outbox of the backend's database; None where it has none, or needs none."""
    connection = connections[backend.using]
    if connection.vendor not in ("postgresql", "sqlite"):
        return None
    with transaction.atomic(using=backend.using):
        link = DjangoLink(connection)
        if direct.Homes.of(backend.app.url, link) is not None or not table.exists(link):
            return None
    return Relay(place_of(connection), backend.app.url, keep=KEEP)


def place_of(connection: Any) -> Place:
    """The database of a connection of Django's, for connections of the relay's own."""
    if connection.vendor == "sqlite":
        from pathlib import Path

        return SqlitePlace(Path(connection.settings_dict["NAME"]))
    # Also what OPTIONS says of certificates, services or the search path; not what is for Django's own cursors.
    given: dict[str, Any] = connection.get_connection_params()
    for name in [name for name, value in given.items() if not isinstance(value, (str, int))]:
        del given[name]
    return postgres(**given)
