"""Server-sent events: what changed, as it changes, resumable by revision.

Of one study: `change` events, each a `tuner.wire.Change` from the revision that the last one ended with; the id of an event is the
revision to go on from. Without a study: `study` events with the summaries of the project's studies as they change, `deleted` when one is
gone. At most four events a second and study; rows may come twice and are merged by number.
Weakness: a stream of all studies tells of a deletion only where it had sent the study before, and it begins with the 50 newest: who polls with
`once` never hears of one and reads the listing instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import orjson
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from api import auth
from api.auth import READ
from api.routing import Call, Routes
from api.waiting import Subscription
from tuner import events, views, wire
from tuner.errors import FieldError, InvalidValue, StudyNotFound, TunerError, Unauthenticated

routes = Routes("events")
INTERVAL = 0.25
OVERVIEW_INTERVAL = 1.0
HEARTBEAT = 15.0
FALLBACK = 5.0
"""Seconds after which a stream of one study looks without having been woken."""
OVERVIEW_FALLBACK = 30.0
"""The same for a stream of all studies, whose look counts the trials of many."""


class EventQuery(wire.Body):
    study: str | None = Field(default=None, max_length=300, description="id or name; without: all studies of the project")
    since: int | None = Field(
        default=None, ge=0, lt=2**63, description="revision to start from, where Last-Event-ID cannot be sent"
    )
    once: bool = Field(default=False, description="end with what has changed by now: for polling, where streams are held back")


class LogQuery(wire.Body):
    study: str | None = Field(default=None, max_length=300, description="id or name; without: everything of the project")
    before: int | None = Field(default=None, ge=1, lt=2**63, description="only what is older than the event with this id")
    limit: int = Field(default=50, ge=1, le=500)


class EventList(wire.Answer):
    items: list[wire.Event]


@routes.route("GET", "/v1/log", READ, answer=EventList)
def list_log(call: Call, query: LogQuery) -> EventList:
    """What happened, newest first: studies made and steered, trials lost, keys made and revoked, with who did it."""
    study_id = None if query.study is None else views.get_study(call.database, call.project, query.study).id
    return EventList.model_construct(items=events.list_latest(call.database, call.project, study_id, query.before, query.limit))


@routes.route("GET", "/v1/events", READ, answer=bytes, media_type="text/event-stream")
def stream_events(call: Call, query: EventQuery) -> Response:
    """Server-sent events of one study or of all, resumable with Last-Event-ID."""
    since = _since(call, query)
    if query.study is None:
        return _stream(follow_project(call, query.once))
    # Asked here, so that a study that is not there is a 404 and not a stream.
    study = views.get_study(call.database, call.project, query.study)
    return _stream(follow_study(call, study.id, since, query.once))


def _since(call: Call, query: EventQuery) -> int:
    text = call.request.headers.get("last-event-id")
    if text is None or text == "":
        return query.since or 0
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidValue(errors=[FieldError("Last-Event-ID", "must be the id of an event of this stream")])
    return int(text)


def _stream(events: AsyncIterator[bytes]) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def follow_study(call: Call, study_id: int, since: int, once: bool) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    last: tuple[Any, ...] | None = None
    with call.board.stream(study_id) as subscription:
        async for woken in _turns(call, subscription, INTERVAL):
            if not woken:
                yield b": alive\n\n"
                continue
            try:
                change = await call.in_thread(views.changes, call.database, call.project, study_id, since)
            except StudyNotFound:
                yield _event("deleted", {"id": study_id}, since)
                return
            since = change.revision
            # Long transactions elsewhere keep the horizon back, and the same rows come again.
            shown = (change.study, change.trials, change.reports, change.more)
            if shown != last:
                last = shown
                yield _event("change", change, change.revision)
            if once:
                return


async def follow_project(call: Call, once: bool) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    shown: dict[int, wire.Study] = {}
    looked_at = monotonic()
    with call.board.stream() as subscription:
        subscription.all_changed = True
        async for woken in _turns(call, subscription, OVERVIEW_INTERVAL):
            if not woken:
                yield b": alive\n\n"
                continue
            changed, everything = subscription.take()
            studies: list[wire.Study] = []
            if everything or monotonic() - looked_at >= OVERVIEW_FALLBACK:
                looked_at = monotonic()
                studies += (await call.in_thread(views.list_studies, call.database, call.project)).items
            for study_id in sorted(changed - {study.id for study in studies}):
                try:
                    studies.append(await call.in_thread(views.get_study, call.database, call.project, study_id))
                except StudyNotFound:
                    # Another project's, or deleted.
                    if shown.pop(study_id, None) is not None:
                        yield _event("deleted", {"id": study_id}, 0)
            for study in studies:
                if shown.get(study.id) != study:
                    shown[study.id] = study
                    yield _event("study", study, study.revision)
            if once:
                return


async def _turns(call: Call, subscription: Subscription, interval: float) -> AsyncIterator[bool]:
    """True when it is time to look, False when it is time for a sign of life; ends with the server or with the right to see."""
    last_sign = monotonic()
    yield True
    while not call.board.is_closed:
        await subscription.wait(FALLBACK)
        if call.board.is_closed or not await _may_still_read(call):
            return
        yield True
        if monotonic() - last_sign >= HEARTBEAT:
            last_sign = monotonic()
            yield False
        await asyncio.sleep(interval)


async def _may_still_read(call: Call) -> bool:
    """Streams live long: a key that was revoked meanwhile ends them."""
    try:
        await call.in_thread(auth.authenticate, call.database, call.request)
    except Unauthenticated:
        return False
    except TunerError:
        return True
    return True


def _event(kind: str, data: wire.Answer | dict[str, Any], revision: int) -> bytes:
    body = orjson.dumps(data) if isinstance(data, dict) else data.__pydantic_serializer__.to_json(data)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (revision, kind.encode(), body)
