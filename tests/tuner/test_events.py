"""The listener hears wakes for as long as it runs, whatever else is said on its channel."""

from __future__ import annotations

import queue

from sqlalchemy import text

from tuner import events
from tuner.db.notifier import CHANNEL
from tuner.db.postgres import Database


def test_nonsense_on_the_channel_is_passed_over(database: Database) -> None:
    heard: queue.Queue[tuple[str, int]] = queue.Queue()
    listener = events.Listener(database, lambda kind, study_id: heard.put((kind, study_id)))
    listener.start()
    try:
        # Nothing says when the listener listens: wake it until it has heard.
        for number in range(100):
            database.wake("result", number)
            try:
                heard.get(timeout=0.1)
                break
            except queue.Empty:
                continue
        with database.read() as connection:
            for payload in ("", "nonsense", "result x", "result " + "9" * 5000):
                connection.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})
        database.wake("trials", 424242)
        while heard.get(timeout=5) != ("trials", 424242):
            pass
    finally:
        listener.stop()
