"""The pages behind signed links: one shows a question, the other takes its answer.

Looking never answers: scanners of mail follow every link. Nothing here needs protection from forged requests of other
sites (CSRF), because no cookie or header says who answers: the link does, and who has it needs no other site.
What is no link, and a link to a question that intake does not know (yet), look the same.
"""

import asyncio
from collections.abc import Generator
from functools import partial
from typing import Final
from urllib.parse import parse_qsl

from entresol_eventing.envelope import now
from entresol_eventing.http import Problem
from entresol_eventing.links import Link, read_keys
from entresol_eventing.reactions import Emit
from entresol_eventing.writer import Unavailable
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlmodel import Session

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.domain.throttle import Throttle
from entresol_intake.http import page, shapes
from entresol_intake.http.answers import GIVEN, answered
from entresol_intake.http.desk import Desk
from entresol_intake.store import Approval, LinkAnswer, approval_of, link_answer_of, remember_link_answer

MAX_FORM_BYTES: Final = 32 * 1024
"""A reason of the greatest length, each character encoded as long as can be."""
FORM: Final = "application/x-www-form-urlencoded"
PER_SECOND: Final = 5.0
BURST: Final = 50.0
"""Answers are given by people. Counted after the link was found to be one, so that strangers can't use it up."""

Known = tuple[Approval, LinkAnswer | None]


class _Shown(Exception):
    """A page instead of what the route is for."""

    def __init__(self, status: int, html: str, retry_after: str | None = None) -> None:
        super().__init__(status)
        self.response = _page(status, html, retry_after)


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(tags=["approvals"])
    throttle = Throttle(PER_SECOND, BURST)

    @routes.get(
        "/answers/{token}",
        summary="See what one is asked, by a signed link",
        response_class=HTMLResponse,
        responses=shapes.pages({200: "The question", 404: "No such link", 410: "Its time is over", 503: "Try later"}),
    )
    async def look(token: str) -> Response:
        try:
            link = await _link(desk, token)
            found, before = await desk.service.read(partial(_known, link))
        except _Shown as shown:
            return shown.response
        return _page(200, page.question(found, link, before))

    @routes.post(
        "/answers/{token}",
        status_code=202,
        summary="Answer by a signed link",
        response_class=HTMLResponse,
        responses=shapes.pages(
            {
                202: "Stored; policy says whether it counts",
                404: "No such link",
                409: "The question is over, or was answered differently by this link",
                410: "Its time is over",
                413: "Too large",
                415: "Not a form",
                422: "Not the form of the page",
                503: "Try later",
            }
        ),
        openapi_extra=shapes.takes(shapes.ANSWER_FORM, media_types=(FORM,)),
    )
    async def answer(token: str, request: Request) -> Response:
        try:
            link = await _link(desk, token)
            if not throttle.admits():
                raise _Shown(503, page.notice("Try again in a moment", "Too many answers came at once."), "1")
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
                raise _Shown(415, page.notice("This is not the form", "Follow the link, and answer on its page."))
            given, reason = _read(await request.body())
            status, html = await desk.transact(partial(_answer, link, given, reason), link.actor)
        except _Shown as shown:
            return shown.response
        except Problem as problem:
            return _page(problem.status, page.notice(problem.title, problem.detail), problem.headers.get("Retry-After"))
        except Unavailable as away:
            return _page(503, page.notice("Try again soon", f"Your answer was not recorded: {away}"), "5")
        return _page(status, html)

    return routes


async def _link(desk: Desk, token: str) -> Link:
    """The link that the token is; raise _Shown if there is none, or if its time is over."""
    file = desk.settings.link_key_file
    if file is None:
        raise _Shown(404, page.nowhere())
    try:
        keys = await asyncio.to_thread(read_keys, file)  # each time, so that a key can be replaced while intake runs
    except (OSError, ValueError):
        detail = "Entresol can't check links right now; its operator must provide the key."
        raise _Shown(503, page.notice("Try again later", detail), "60") from None
    link = keys.read(token)
    if link is None:
        raise _Shown(404, page.nowhere())
    if link.expires_at <= now():
        raise _Shown(
            410, page.notice("This link has ended", "Its time is over. Nothing was answered by looking at it.")
        )
    return link


def _known(link: Link, session: Session) -> Known:
    found = approval_of(link.approval_id, session)
    if found is None:
        raise _Shown(404, page.nowhere())
    return found, link_answer_of(link.approval_id, link.actor, session)


def _answer(link: Link, given: str, reason: str | None, session: Session) -> Generator[Emit, None, tuple[int, str]]:
    found = approval_of(link.approval_id, session)
    if found is None:
        return 404, page.nowhere()
    before = link_answer_of(link.approval_id, link.actor, session)
    if before is not None and before.refused is None:
        return 202 if before.answer == given else 409, page.question(found, link, before)
    if found.ended is not None:
        return 409, page.question(found, link, before)
    emit = answered(found, given, link.actor, link.groups, reason)
    now_given = LinkAnswer(
        approval_id=link.approval_id, actor=link.actor, answer=given, answered_at=now(), event=emit.id, refused=None
    )
    remember_link_answer(now_given, session)
    yield emit
    return 202, page.question(found, link, now_given)


def _read(raw: bytes) -> tuple[str, str | None]:
    """The answer and the reason of a form as browsers send it; raise _Shown for anything else."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=2
        )
    except ValueError:
        pairs = []
    fields = dict(pairs)
    given = fields.pop("answer", "")
    reason = fields.pop("reason", "").replace("\r\n", "\n").strip()
    if given not in GIVEN or fields or len(dict(pairs)) != len(pairs) or "\0" in reason:
        raise _Shown(422, page.notice("This could not be read", "Follow the link again, and answer on its page."))
    if len(reason) > MAX_REASON:
        raise _Shown(422, page.notice("The reason is too long", f"At most {MAX_REASON} characters are taken. Go back."))
    return given, reason or None


def _page(status: int, html: str, retry_after: str | None = None) -> Response:
    return HTMLResponse(html, status, {**page.headers(), **({"Retry-After": retry_after} if retry_after else {})})
