"""The reading side of webhooks; mixed into `roost.engine.reader.SqlReader`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from roost.engine import hookrows, listing
from roost.engine.hookrows import missing_delivery, missing_source, missing_webhook
from roost.engine.hooks import Cursor, SourceFacts
from roost.engine.work.texts import pack
from roost.wire.webhooks import Delivery, DeliveryPage, ListDeliveries, Source, Webhook

if TYPE_CHECKING:
    from roost.engine.session import Session

FOREVER = 2**62
CROWD = 10_000
"""Pending deliveries of an endpoint, beyond which it gets no more until some have ended."""


class SqlHookReader:
    """`roost.engine.hooks.HookReader` over named statements."""

    _session: Callable[[], AbstractContextManager[Session]]

    def webhooks(self) -> list[Webhook]:
        """All endpoints by name."""
        with self._session() as session:
            return [hookrows.webhook(row) for row in session.rows("webhook_rows")]

    def webhook(self, name: str) -> Webhook:
        """One endpoint."""
        with self._session() as session:
            found = session.rows("webhook_row", name=name)
        if not found:
            raise missing_webhook(name)
        return hookrows.webhook(found[0])

    def webhook_cursors(self) -> list[Cursor]:
        """The enabled endpoints as the dispatcher sees them."""
        with self._session() as session:
            return [hookrows.cursor(row) for row in session.rows("webhook_cursors", crowd=CROWD)]

    def deliveries(self, query: ListDeliveries) -> DeliveryPage:
        """A page of an endpoint's deliveries, newest first."""
        before = listing.cursor_id(query.cursor)
        with self._session() as session:
            found = session.rows(
                "delivery_rows",
                name=query.name,
                before=FOREVER if before is None else before,
                state=query.state,
                limit=query.limit + 1,
            )
            if not found and not session.one("webhook_exists", name=query.name):
                raise missing_webhook(query.name)
        page = [hookrows.delivery_summary(row) for row in found[: query.limit]]
        return DeliveryPage(deliveries=page, cursor=str(page[-1].id) if len(found) > query.limit else None)

    def delivery(self, id: int) -> Delivery:
        """One delivery with its tries."""
        with self._session() as session:
            found = session.rows("delivery_row", id=id)
            if not found:
                raise missing_delivery(id)
            return hookrows.delivery(found[0], session.rows("delivery_attempt_rows", id=id))

    def tags(self, ids: list[int]) -> dict[int, dict[str, str]]:
        """The tags of those jobs that have any."""
        found: dict[int, dict[str, str]] = {}
        with self._session() as session:
            for job, key, value in session.rows("webhook_tags", ids=pack(ids)):
                found.setdefault(job, {})[key] = value
        return found

    def results(self, ids: list[int]) -> dict[int, str]:
        """The results, as JSON texts, of those jobs that have one."""
        with self._session() as session:
            return dict(session.rows("webhook_results", ids=pack(ids)))

    def sources(self) -> list[Source]:
        """All sources by name."""
        with self._session() as session:
            return [hookrows.source(row) for row in session.rows("source_rows")]

    def source(self, name: str) -> Source:
        """One source."""
        with self._session() as session:
            found = session.rows("source_row", name=name)
        if not found:
            raise missing_source(name)
        return hookrows.source(found[0])

    def source_facts(self, name: str) -> SourceFacts:
        """One source with its secrets."""
        with self._session() as session:
            found = session.rows("source_row", name=name)
        if not found:
            raise missing_source(name)
        return hookrows.source_facts(found[0])

    def sources_of(self, queue: str) -> list[SourceFacts]:
        """The first two of the sources that lead to a queue."""
        with self._session() as session:
            return [hookrows.source_facts(row) for row in session.rows("source_rows_of_queue", queue=queue)]
