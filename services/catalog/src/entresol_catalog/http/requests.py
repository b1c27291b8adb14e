"""Requests, the chain of events of each, and approvals."""

import asyncio
import json
from typing import Annotated, Any

from entresol_eventing.access import Principal
from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from entresol_catalog.domain.approvals import Approval, ApprovalState
from entresol_catalog.domain.requests import Request, State
from entresol_catalog.http.answers import (
    PROBLEMS,
    SINGLE,
    Cursor,
    Door,
    IfNoneMatch,
    Limit,
    Page,
    Project,
    given,
    listed,
    missing,
    reached,
    single,
)
from entresol_catalog.http.decisions import DecidedRequest, with_decisions
from entresol_catalog.http.events import positioned
from entresol_catalog.store import tables
from entresol_catalog.store.reading import document, entries, in_sight, page, reach
from entresol_catalog.store.shelf import adapter, written


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads = door.guard("catalog:read")

    @router.get("/requests", response_model=Page[DecidedRequest])
    async def list_requests(
        who: Annotated[Principal, reads],
        project: Project = None,
        state: Annotated[list[State] | None, Query()] = None,
        resource: str | None = None,
        offering: str | None = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Newest first."""
        table = tables.request
        conditions = reach(table, who)
        conditions += [table.c[name] == value for name, value in given(project=project, resource=resource)]
        conditions += [table.c[name] == value for name, value in given(offering=offering)]
        if state:
            conditions.append(table.c.state.in_(state))
        wanted = page(table, conditions, cursor=cursor, limit=limit)

        def read(session: Session) -> tuple[list[str], int | None]:
            found, following = wanted(session)
            return with_decisions(found, [json.loads(one)["id"] for one in found], session), following

        return listed(*await door.read(read))

    async def find(who: Principal, request_id: str) -> Request:
        found = await door.read(document(tables.request, [tables.request.c.id == request_id]))
        request: Request | None = None if found is None else adapter(Request).validate_json(found)
        if request is None or not reached(who, request.project):
            raise missing("request", request_id)
        return request

    @router.get("/requests/{request_id}", response_model=DecidedRequest, responses=SINGLE)
    async def show_request(
        who: Annotated[Principal, reads],
        request_id: str,
        wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for its end.")] = 0,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """With `wait`, answers as soon as the request has ended, or when the time is over."""
        request = await find(who, request_id)
        if wait and not request.terminal:
            with door.tail.watching(request_id) as moved:
                request = await _ended(door, who, request_id, find, moved, wait)
        (decided,) = await door.read(lambda session: with_decisions([written(request)], [request_id], session))
        return single(decided, request.revision, if_none_match)

    @router.get("/requests/{request_id}/events", response_model=Page[dict[str, Any]])
    async def show_chain(
        who: Annotated[Principal, reads], request_id: str, limit: Limit = 500, cursor: Cursor = None
    ) -> Response:
        """Every event of the request's chain in the order of the log: its causes, and what followed from it."""
        request = await find(who, request_id)
        conditions = [tables.history.c.correlationid == request.correlationid, *in_sight(who)]
        found, _ = await door.read(entries(conditions, cursor or 0, limit + 1))
        return listed([positioned(one) for one in found[:limit]], found[limit - 1].position if found[limit:] else None)

    @router.get("/approvals", response_model=Page[Approval])
    async def list_approvals(
        who: Annotated[Principal, reads],
        state: Annotated[list[ApprovalState] | None, Query()] = None,
        project: Project = None,
        review: Annotated[bool | None, Query(description="Whether a request waits for it (false) or not.")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Newest first. Nothing waits for a review: with it, somebody signs off that a glass was broken."""
        table = tables.approval
        conditions = reach(table, who)
        conditions += [table.c[name] == value for name, value in given(project=project)]
        if state:
            conditions.append(table.c.state.in_(state))
        if review is not None:
            conditions.append(table.c.review_by.is_not(None) if review else table.c.review_by.is_(None))
        return listed(*await door.read(page(table, conditions, cursor=cursor, limit=limit)))

    @router.get("/approvals/{approval_id}", response_model=Approval, responses=SINGLE)
    async def show_approval(
        who: Annotated[Principal, reads], approval_id: str, if_none_match: IfNoneMatch = None
    ) -> Response:
        """Who is asked, what each of them has said, and what policy has said of that."""
        table = tables.approval
        found = await door.read(document(table, [table.c.id == approval_id, *reach(table, who)]))
        if found is None:
            raise missing("approval", approval_id)
        return single(found, None, if_none_match)

    return router


async def _ended(
    door: Door, who: Principal, request_id: str, find: Any, moved: asyncio.Event, wait_seconds: float
) -> Request:
    """The request when it has ended, or as it is when the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    while True:
        moved.clear()
        request: Request = await find(who, request_id)
        remaining = deadline - loop.time()
        if request.terminal or remaining <= 0 or door.tail.closed:
            return request
        try:
            await asyncio.wait_for(moved.wait(), remaining)
        except TimeoutError:
            continue
