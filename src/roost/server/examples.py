"""Bodies to copy from the documentation; every one is a valid request."""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, Any] = {
    "webhooks.put": {"url": "https://example.com/roost", "events": ["succeeded", "failed"], "queues": ["mail"]},
    "webhooks.replay": {"since": "2026-11-22T08:00:00Z"},
    "sources.put": {
        "queue": "deploys",
        "kind": "github.{event}",
        "scheme": "github",
        "secrets": ["a long random text"],
    },
    "jobs.enqueue": {"kind": "mail.welcome", "input": {"user_id": 7}, "queue": "mail", "delay": "10m"},
    "jobs.enqueue_many": {
        "jobs": [
            {"kind": "mail.welcome", "input": {"user_id": 7}, "queue": "mail"},
            {"kind": "mail.welcome", "input": {"user_id": 8}, "queue": "mail", "unique": {"key": "welcome-8"}},
        ]
    },
    "jobs.claim": {"worker": "host-1", "queues": ["mail", "default"], "limit": 10, "wait": "30s"},
    "jobs.settle": {
        "outcomes": [
            {"id": 1, "token": "5f0c1e7a9b3d4c2f8e6a1b0d9c8e7f6a", "outcome": "succeed", "result": {"sent": True}}
        ]
    },
    "jobs.heartbeat": {
        "worker": "host-1",
        "beats": [
            {
                "id": 1,
                "token": "5f0c1e7a9b3d4c2f8e6a1b0d9c8e7f6a",
                "progress": {"current": 3, "total": 10, "message": "reading the inbox"},
            }
        ],
    },
    "jobs.record_step": {
        "token": "5f0c1e7a9b3d4c2f8e6a1b0d9c8e7f6a",
        "name": "read",
        "input_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "output": {"messages": 12},
    },
    "jobs.cancel": {"note": "sent by hand", "actor": "mia"},
    "jobs.reopen": {"note": "the mail server is back", "actor": "mia"},
    "jobs.move": {"queue": "slow", "priority": "low", "actor": "mia"},
    "jobs.run_now": {"actor": "mia"},
    "jobs.hold": {"title": "Wait for the new prices", "actor": "mia"},
    "jobs.clone": {"input": {"user_id": 8}, "delay": "10m"},
    "jobs.edit": {"tags": {"team": "blue"}, "untag": ["draft"], "owner": "mia", "metadata": {"ticket": 7}},
    "jobs.note": {"text": "asked the customer", "actor": "mia"},
    "jobs.take": {"worker": "mia"},
    "jobs.update": {"attempt": 1, "state": "succeeded", "summary": "Brief posted", "result": {"pages": 3}},
    "queues.pause": {"actor": "mia"},
    "queues.drain": {"wait": "30s", "actor": "mia"},
    "queues.clear": {"states": ["waiting", "ready"], "actor": "mia"},
    "queues.destroy": {"force": True, "actor": "mia"},
    "kinds.put": {
        "schema": {"type": "object", "required": ["to"], "properties": {"to": {"type": "string", "format": "email"}}}
    },
    "schedules.put": {
        "rule": {"cron": "0 8 * * *", "zone": "America/New_York"},
        "job": {"kind": "brief.daily", "input": {"user_id": "mia"}},
    },
    "schedules.preview_rule": {"rule": {"cron": "0 8 * * 1-5", "zone": "Europe/Berlin"}, "count": 5},
    "holds.approve": {
        "subject_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "actor": "mia",
        "note": "reads well",
    },
    "holds.extend": {"by": "2h", "actor": "mia"},
    "outboxes.deliver": {
        "contents": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "jobs": [{"kind": "mail.welcome", "input": {"user_id": 7}, "queue": "mail"}],
    },
    "workers.register": {
        "host": "host-1",
        "pid": 4711,
        "queues": ["mail"],
        "kinds": ["mail.welcome"],
        "concurrency": 8,
    },
}
"""By the operation's name."""
