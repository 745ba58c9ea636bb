"""Wakes that leave a process: NOTIFY, coalesced and sent outside of the transactions that cause them.

A NOTIFY inside a writing transaction takes a database-wide lock until its commit has reached the disk, which would put all commits in a
row; one sent afterwards costs no flush at all. The price: a process killed between commit and wake leaves listeners to their polling
interval. Wakes only ever make things faster; polling decides.
"""

from __future__ import annotations

import threading

import psycopg

CHANNEL = "tuner"


class Notifier:
    """A thread that sends what `wake` collects; equal wakes that wait together go out once."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._pending: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def wake(self, kind: str, study_id: int) -> None:
        with self._changed:
            self._pending.add(f"{kind} {study_id}")
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Send what is pending and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=5)

    def _run(self) -> None:
        connection: psycopg.Connection[tuple[object, ...]] | None = None
        while True:
            with self._changed:
                while not self._pending and not self._closed:
                    self._changed.wait()
                payloads, self._pending = sorted(self._pending), set()
                closed = self._closed
            if payloads:
                try:
                    if connection is None or connection.closed:
                        connection = psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5)
                    connection.execute("SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", (CHANNEL, payloads))
                except psycopg.Error:
                    # The wakes are lost, their listeners poll; the next wake connects anew.
                    if connection is not None:
                        connection.close()
                    connection = None
            if closed:
                if connection is not None:
                    connection.close()
                return
