"""How the read door answers: pages, single things with an ETag, and 404 for what is out of reach."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from entresol_eventing.access import Principal
from entresol_eventing.http import Guard, Problem
from entresol_eventing.service import Service
from fastapi import Header, Query, Response
from pydantic import BaseModel
from sqlmodel import Session

from entresol_catalog.http.tail import Tail
from entresol_catalog.settings import Settings

T = TypeVar("T")

MAX_POSITION = 2**63 - 1
Limit = Annotated[int, Query(ge=1, le=500, description="How many items at the most.")]
Cursor = Annotated[int | None, Query(ge=0, le=MAX_POSITION, description="`next` of the page before.")]
Project = Annotated[str | None, Query(max_length=1000)]
IfNoneMatch = Annotated[str | None, Header(description="The ETag that is known already: then the answer is 304.")]
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Door:
    """What the routes need."""

    service: Service
    settings: Settings
    tail: Tail
    guard: Guard

    async def read(self, query: Callable[[Session], T]) -> T:
        return await self.service.read(query)


class Page(BaseModel, Generic[T]):
    """`next` is the cursor of the next page; null on the last one."""

    items: list[T]
    next: str | None = None


def listed(documents: list[str], cursor: int | None) -> Response:
    """A page of documents that are JSON already."""
    following = "null" if cursor is None else f'"{cursor}"'
    return Response(f'{{"items":[{",".join(documents)}],"next":{following}}}', media_type=JSON)


def single(document: str, revision: int | None, if_none_match: str | None) -> Response:
    """One thing with its ETag: its revision where it has one, and a digest, since a revision says nothing of links."""
    digest = hashlib.sha256(document.encode()).hexdigest()[:16]
    etag = f'"{digest}"' if revision is None else f'"{revision}-{digest}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    known = {one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")}
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(document, media_type=JSON, headers=headers)


def missing(what: str, name: str) -> Problem:
    """The same for what does not exist and for what is out of reach: nobody learns which."""
    return Problem(404, f"No such {what}", f"{name} does not exist, or is out of reach for this token.")


def reached(who: Principal, project: str | None) -> bool:
    return who.reaches_all or (project is not None and who.reaches(project))


def given(**filters: str | bool | None) -> list[tuple[str, str | bool]]:
    """The filters that were given, by column."""
    return [(name, value) for name, value in filters.items() if value is not None]


PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"description": "The token is missing or not valid."},
    403: {"description": "The token's role does not allow this."},
    422: {"description": "A parameter is not valid."},
    "default": {"description": "A problem (RFC 9457).", "content": {"application/problem+json": {}}},
}
SINGLE: dict[int | str, dict[str, Any]] = {
    304: {"description": "Not changed since the given ETag."},
    404: {"description": "It does not exist, or is out of reach."},
}
