"""Requests that wait, on the event loop: for a trial to lease, for the search's judgement, for something to tell the browser.

The listener's wakes come in from its thread. Everybody first notes a mark, then looks, then joins; a wake after the mark makes them look
again at once, so none falls into the gap. Wakes may still be lost on their way (see `tuner.db.notifier`): then a look each POLL decides.
Requests that could take the same trials stand in one queue, and a wake goes to its head, who passes it on once served: a trial for a
thousand waiting workers costs a few looks, not a thousand.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import islice

from starlette.requests import Request

POLL = 1.0


class Place:
    """A waiting request: its event is set when it should look."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_gone = False

    def wake(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """True when woken within `timeout` seconds; the wake is then used up."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), max(0.0, timeout))
        woken = self._event.is_set()
        self._event.clear()
        return woken


class _Queue:
    def __init__(self, study_id: int | None) -> None:
        self.study_id = study_id
        self.places: deque[QueuePlace] = deque()

    def wake(self, count: int = 1) -> None:
        for place in islice(self.places, count):
            place.wake()


class QueuePlace(Place):
    def __init__(self, queue: _Queue) -> None:
        super().__init__()
        self._queue = queue
        self.is_served = False

    async def wait_turn(self, remaining: float) -> bool:
        """True when it is time to look: woken, or at the head of the queue for POLL seconds."""
        is_head = self._queue.places[0] is self
        return await self.wait(min(remaining, POLL) if is_head else remaining) or is_head


class Subscription(Place):
    """What a stream of events waits on: the studies that changed since it last looked; with `study_id` only that one counts."""

    def __init__(self, study_id: int | None) -> None:
        super().__init__()
        self.study_id = study_id
        self.changed: set[int] = set()
        self.all_changed = False

    def take(self) -> tuple[set[int], bool]:
        changed, everything = self.changed, self.all_changed
        self.changed, self.all_changed = set(), False
        return changed, everything


class Board:
    """All that wait in this process. Its methods belong to the event loop, except `notify` and `mark`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: dict[Hashable, _Queue] = {}
        self._judged: dict[int, set[Place]] = {}
        self._streams: set[Subscription] = set()
        self._marks = {"trials": 0, "judged": 0}
        self._study_ids: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._closed = False
        self.num_waiting = 0

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def close(self) -> None:
        """Let everybody go: requests answer with what they have, streams end."""
        self._closed = True
        for place in self._all():
            place.wake()

    @property
    def is_closed(self) -> bool:
        return self._closed

    def mark(self, kind: str) -> int:
        return self._marks[kind]

    def notify(self, kind: str, study_id: int) -> None:
        """A wake, from any thread."""
        loop = self._loop
        if loop is None or (kind in ("result", "demand") and not self._streams):
            return
        with suppress(RuntimeError):  # the loop has just been closed
            loop.call_soon_threadsafe(self._wake, kind, study_id)

    def _wake(self, kind: str, study_id: int) -> None:
        everything = kind == "reconnected"
        if kind == "trials" or everything:
            self._marks["trials"] += 1
            for queue in list(self._queues.values()):
                if everything or queue.study_id is None or queue.study_id == study_id:
                    queue.wake()
        if kind in ("judged", "trials") or everything:
            self._marks["judged"] += 1
            for waiting_for, places in self._judged.items():
                if everything or waiting_for == study_id:
                    for place in places:
                        place.wake()
        if kind != "demand":
            for stream in self._streams:
                if everything or stream.study_id is None or stream.study_id == study_id:
                    stream.changed.add(study_id)
                    stream.all_changed |= everything
                    stream.wake()

    def _all(self) -> Iterator[Place]:
        for queue in self._queues.values():
            yield from queue.places
        for places in self._judged.values():
            yield from places
        yield from self._streams

    @asynccontextmanager
    async def queue(self, key: Hashable, study_id: int | None, request: Request) -> AsyncIterator[QueuePlace]:
        """Stand in the queue of all requests with this key; `study_id` None: any study's trials may do."""
        queue = self._queues.setdefault(key, _Queue(study_id))
        place = QueuePlace(queue)
        queue.places.append(place)
        try:
            async with self._watched(place, request):
                yield place
        finally:
            was_head = queue.places[0] is place
            queue.places.remove(place)
            # Where there was one trial there may be more: each who is served wakes two, so that a thousand trials find a thousand
            # waiting workers in ten rounds; who goes without hands on what he may have been woken for.
            if place.is_served:
                queue.wake(2)
            elif was_head:
                queue.wake()
            if not queue.places and self._queues.get(key) is queue:
                del self._queues[key]

    @asynccontextmanager
    async def judgement(self, study_id: int, request: Request) -> AsyncIterator[Place]:
        place = Place()
        self._judged.setdefault(study_id, set()).add(place)
        try:
            async with self._watched(place, request):
                yield place
        finally:
            self._judged[study_id].discard(place)
            if not self._judged[study_id]:
                del self._judged[study_id]

    @contextmanager
    def stream(self, study_id: int | None = None) -> Iterator[Subscription]:
        subscription = Subscription(study_id)
        self._streams.add(subscription)
        try:
            yield subscription
        finally:
            self._streams.discard(subscription)

    @asynccontextmanager
    async def _watched(self, place: Place, request: Request) -> AsyncIterator[None]:
        """Count the waiting, and wake it when its client has gone: `is_gone`."""

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            place.is_gone = True
            place.wake()

        task = asyncio.create_task(watch())
        self.num_waiting += 1
        try:
            yield
        finally:
            self.num_waiting -= 1
            task.cancel()

    def get_study_id(self, project: str, name: str) -> int | None:
        return self._study_ids.get((project, name))

    def put_study_id(self, project: str, name: str, study_id: int) -> None:
        """Remember a name's id for matching wakes. Names move only by deletion: a stale id costs its waiters a POLL."""
        self._study_ids[(project, name)] = study_id
        while len(self._study_ids) > 1000:
            with suppress(KeyError):
                self._study_ids.popitem(last=False)
