"""History as a list and as a live stream (server-sent events)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from entresol_eventing.access import Principal
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import ColumnElement

from entresol_catalog.http.answers import MAX_POSITION, PROBLEMS, Door, Limit, Page, Project, listed, missing, reached
from entresol_catalog.store.reading import Entry, entries, holds, in_sight, last_position, sight, type_name
from entresol_catalog.store.tables import history

Types = Annotated[list[str] | None, Query(max_length=50, description="Such as `request.completed`; may be repeated.")]
Position = Annotated[int, Query(ge=0, le=MAX_POSITION)]


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads = door.guard("catalog:read")

    @router.get("/events", response_model=Page[dict[str, Any]])
    async def list_events(
        who: Annotated[Principal, reads],
        type: Types = None,  # noqa: A002
        after: Position = 0,
        limit: Limit = 100,
        project: Project = None,
    ) -> Response:
        """In the order of the log; `next` is the `after` of the next page, and null at the end."""
        conditions = in_sight(who) + _wanted(type, None, project)
        found, _ = await door.read(entries(conditions, after, limit + 1))
        return listed([positioned(one) for one in found[:limit]], found[limit - 1].position if found[limit:] else None)

    @router.get("/stream", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def stream(
        who: Annotated[Principal, reads],
        type: Types = None,  # noqa: A002
        request: Annotated[str | None, Query(max_length=1000)] = None,
        project: Project = None,
        after: Annotated[int | None, Query(ge=0, le=MAX_POSITION, description="0: from the start.")] = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Server-sent events: `id` is the position, `event` the type, `data` the envelope.

        Begins now, or behind `Last-Event-ID`, or behind `after`. Ends when the token does.
        """
        if project is not None and not reached(who, project):
            raise missing("project", project)
        start = _resumed(last_event_id, after)
        if start is None:
            start = await door.read(last_position)
        conditions = in_sight(who) + _wanted(type, request, project)
        text = _written(door, who, start, conditions, _filter(who, type, request, project))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(text, media_type="text/event-stream", headers=headers)

    return router


def positioned(entry: Entry) -> str:
    """The envelope with its place in history."""
    return f'{{"position":{entry.position},{entry.body[1:]}'


def _resumed(last_event_id: str | None, after: int | None) -> int | None:
    """Where to go on; the header counts more, since a client that reconnects sends its first query again."""
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
        return min(int(last_event_id[:20]), MAX_POSITION)
    return after


async def _written(
    door: Door, who: Principal, start: int, conditions: list[ColumnElement[bool]], wanted: Callable[[Entry], bool]
) -> AsyncIterator[str]:
    """The stream's text, with a comment in every silence; ends when the token is not valid any more."""
    every_seconds = door.settings.heartbeat_seconds
    loop = asyncio.get_running_loop()
    written_at = checked_at = loop.time()
    yield ": connected\n\n"
    async for found in door.tail.follow(door.service, start, conditions, every_seconds):
        text = "".join(f"id: {one.position}\nevent: {one.type}\ndata: {one.body}\n\n" for one in found if wanted(one))
        if loop.time() - checked_at >= every_seconds:
            checked_at = loop.time()
            if not await door.read(holds(who)):
                return
        if not text and loop.time() - written_at >= every_seconds:
            text = ": heartbeat\n\n"
        if text:
            written_at = loop.time()
            yield text


def _wanted(types: list[str] | None, request: str | None, project: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if types:
        conditions.append(history.c.type.in_([type_name(one) for one in types]))
    if request is not None:
        conditions.append(history.c.request_id == request)
    if project is not None:
        conditions.append(history.c.project == project)
    return conditions


def _filter(
    who: Principal, types: list[str] | None, request: str | None, project: str | None
) -> Callable[[Entry], bool]:
    seen = sight(who)
    names = {type_name(one) for one in types or ()}
    return lambda one: (
        (not names or one.type in names)
        and (request is None or one.request_id == request)
        and (project is None or one.project == project)
        and seen(one)
    )
