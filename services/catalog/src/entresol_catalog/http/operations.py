"""What runs the platform: manifests, tokens, dead letters, notifications."""

from datetime import datetime
from typing import Annotated, Literal

from entresol_eventing.access import Principal
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel
from sqlalchemy import ColumnElement
from sqlmodel import Session

from entresol_catalog.domain.listings import DeadLetter, Manifest, Notification, Token
from entresol_catalog.http.answers import PROBLEMS, Cursor, Door, Limit, Page, listed
from entresol_catalog.store import tables
from entresol_catalog.store.reading import page, reach
from entresol_catalog.store.shelf import adapter


class TokenItem(BaseModel):
    """A token as administrators see it: never itself, nor its hash."""

    id: str
    actor: str
    groups: list[str]
    role: str
    projects: list[str]
    issued_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


_IN_FORCE = tables.manifest.c.removed.is_(False)


def routes(door: Door) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    reads, manages_tokens, manages_letters = map(door.guard, ("catalog:read", "tokens:manage", "dead-letters:manage"))

    @router.get("/manifests", response_model=Page[Manifest])
    async def list_manifests(
        _: Annotated[Principal, reads],
        kind: Annotated[str | None, Query(max_length=100)] = None,
        name: Annotated[str | None, Query(max_length=1000)] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        wanted = {tables.manifest.c.kind: kind, tables.manifest.c.name: name}
        conditions = [_IN_FORCE, *(column == value for column, value in wanted.items() if value is not None)]
        return listed(
            *await door.read(page(tables.manifest, conditions, cursor=cursor, limit=limit, newest_first=False))
        )

    @router.get("/tokens", response_model=Page[TokenItem])
    async def list_tokens(
        _: Annotated[Principal, manages_tokens], limit: Limit = 100, cursor: Cursor = None
    ) -> Response:
        """Newest first, those that were revoked too; never a token or its hash."""

        def read(session: Session) -> tuple[list[str], int | None]:
            found, following = page(tables.token, (tables.token.c.hash != "",), cursor=cursor, limit=limit)(session)
            tokens = [adapter(Token).validate_json(one) for one in found]
            shown = [adapter(Token).dump_json(one, exclude={"hash"}).decode() for one in tokens]
            return shown, following

        return listed(*await door.read(read))

    @router.get("/dead-letters", response_model=Page[DeadLetter])
    async def list_dead_letters(
        _: Annotated[Principal, manages_letters],
        service: Annotated[str | None, Query(max_length=100)] = None,
        state: Annotated[
            list[Literal["retrying", "waiting", "redriven", "discarded", "released"]] | None, Query()
        ] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Newest first. `retrying` are parked: they are still tried again, and others may wait behind them."""
        conditions: list[ColumnElement[bool]] = []
        if service is not None:
            conditions.append(tables.dead_letter.c.service == service)
        if state:
            conditions.append(tables.dead_letter.c.state.in_(state))
        return listed(*await door.read(page(tables.dead_letter, conditions, cursor=cursor, limit=limit)))

    @router.get("/notifications", response_model=Page[Notification])
    async def list_notifications(
        who: Annotated[Principal, reads],
        state: Annotated[list[Literal["delivered", "failed"]] | None, Query()] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Newest first."""
        conditions = reach(tables.notification, who)
        if state:
            conditions.append(tables.notification.c.state.in_(state))
        return listed(*await door.read(page(tables.notification, conditions, cursor=cursor, limit=limit)))

    return router
