"""What the read door asks. Every list is ordered by position, so a page that was read never changes its end."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from entresol_eventing.access import Principal
from entresol_eventing.envelope import now
from entresol_eventing.store import one_of
from sqlalchemy import ColumnElement, Select, Table, func, or_, select
from sqlmodel import Session

from entresol_catalog.domain.listings import Token
from entresol_catalog.store.shelf import adapter
from entresol_catalog.store.tables import entity, history, relation, token

Conditions = Sequence[ColumnElement[bool]]
NEEDS_PERMISSION = {
    "token.issued": "tokens:manage",
    "token.revoked": "tokens:manage",
    "message.quarantined": "dead-letters:manage",
    "message.parked": "dead-letters:manage",
    "message.released": "dead-letters:manage",
    "message.redriven": "dead-letters:manage",
    "message.discarded": "dead-letters:manage",
    "redrive.requested": "dead-letters:manage",
    "discard.requested": "dead-letters:manage",
}
COMPANY_WIDE = (
    "entity.declared",
    "entity.withdrawn",
    "entity.changed",
    "entity.removed",
    "manifest.applied",
    "manifest.removed",
    "scorecard.changed",
    "offering.staged",
)
SCOPED = (
    "lock.placed",
    "lock.lifted",
    "lock.expired",
    "waiver.granted",
    "waiver.revoked",
    "waiver.expired",
)
"""What is about one project, or else about every one."""


def type_name(fact: str) -> str:
    """The CloudEvents type of a fact; a whole type stays as it is."""
    return fact if fact.startswith("dev.entresol.") else f"dev.entresol.{fact}.v1"


_COMPANY_WIDE = frozenset(map(type_name, COMPANY_WIDE))
_SCOPED = frozenset(map(type_name, SCOPED))


@dataclass(frozen=True, slots=True)
class Entry:
    """An event at its place in history."""

    position: int
    type: str
    project: str | None
    request_id: str | None
    body: str


def sight(who: Principal) -> Callable[[Entry], bool]:
    """Whether a principal may see an event: of its projects or of all, and not an administrator's business."""
    hidden = _hidden(who)
    if who.reaches_all:
        return lambda entry: entry.type not in hidden
    return lambda entry: (
        entry.type not in hidden
        and (
            entry.project in who.projects
            or entry.type in _COMPANY_WIDE
            or (entry.type in _SCOPED and entry.project is None)
        )
    )


def in_sight(who: Principal) -> list[ColumnElement[bool]]:
    """The same rule as `sight`, for the database."""
    conditions: list[ColumnElement[bool]] = [history.c.type.not_in(sorted(_hidden(who)))]
    if not who.reaches_all:
        everywhere = history.c.type.in_(sorted(_SCOPED)) & history.c.project.is_(None)
        company_wide = history.c.type.in_(sorted(_COMPANY_WIDE))
        conditions.append(or_(history.c.project.in_(who.projects), company_wide, everywhere))
    return conditions


def _hidden(who: Principal) -> frozenset[str]:
    return frozenset(type_name(fact) for fact, permission in NEEDS_PERMISSION.items() if not who.may(permission))


def reach(table: Table, who: Principal) -> list[ColumnElement[bool]]:
    """The condition that keeps other projects' things out."""
    return [] if who.reaches_all else [table.c.project.in_(who.projects)]


def reach_or_everywhere(table: Table, who: Principal) -> list[ColumnElement[bool]]:
    """The same, where what is about no project is about every one."""
    return [] if who.reaches_all else [or_(table.c.project.in_(who.projects), table.c.project.is_(None))]


def page(
    table: Table, conditions: Conditions, *, cursor: int | None, limit: int, newest_first: bool = True
) -> Callable[[Session], tuple[list[str], int | None]]:
    """One page of documents, and the cursor of the next one if there is more."""
    order = table.c.position.desc() if newest_first else table.c.position
    query = select(table.c.position, table.c.document).where(*conditions).order_by(order).limit(limit + 1)
    if cursor is not None:
        query = query.where(table.c.position < cursor if newest_first else table.c.position > cursor)

    def read(session: Session) -> tuple[list[str], int | None]:
        rows = session.execute(query).all()
        return [row.document for row in rows[:limit]], rows[limit - 1].position if len(rows) > limit else None

    return read


def document(table: Table, conditions: Conditions) -> Callable[[Session], str | None]:
    """The one document that fits, if there is one."""
    query = select(table.c.document).where(*conditions).limit(1)
    return lambda session: session.execute(query).scalar()


def documents(table: Table, *conditions: ColumnElement[bool]) -> Callable[[Session], list[str]]:
    query = select(table.c.document).where(*conditions).order_by(table.c.position)
    return lambda session: list(session.execute(query).scalars())


def entries(conditions: Conditions, after: int, limit: int) -> Callable[[Session], tuple[list[Entry], int]]:
    """Events behind a position, in the order of the log, and how far history was read for them."""
    columns = (history.c.position, history.c.type, history.c.project, history.c.request_id, history.c.body)
    query: Select[Any] = (
        select(*columns).where(history.c.position > after, *conditions).order_by(history.c.position).limit(limit)
    )

    def read(session: Session) -> tuple[list[Entry], int]:
        found = [Entry(*row) for row in session.execute(query)]
        return found, found[-1].position if len(found) == limit else max(after, last_position(session))

    return read


def latest_of_each(request_ids: Collection[str], types: Collection[str], session: Session) -> dict[str, str]:
    """The body of the latest event of these types for each of the requests that has one."""
    query = select(history.c.request_id, history.c.body).where(
        history.c.request_id.in_(list(request_ids)), history.c.type.in_(sorted(types))
    )
    return {row.request_id: row.body for row in session.execute(query.order_by(history.c.position))}


def last_position(session: Session) -> int:
    return session.execute(select(func.max(history.c.position))).scalar() or 0


def find_token(token_hash: str) -> Callable[[Session], Token | None]:
    query = select(token.c.document).where(token.c.hash == token_hash)

    def read(session: Session) -> Token | None:
        found = session.execute(query).scalar()
        return None if found is None else adapter(Token).validate_json(found)

    return read


def holds(who: Principal) -> Callable[[Session], bool]:
    """Whether the token behind a principal is valid still."""
    query = select(token.c.document).where(token.c.id == who.token_id)

    def read(session: Session) -> bool:
        found = session.execute(query).scalar()
        return found is not None and adapter(Token).validate_json(found).valid(now())

    return read


def existing(keys: Sequence[tuple[str, str]], session: Session) -> set[tuple[str, str]]:
    """Which of these (blueprint, identifier) exist."""
    columns = (entity.c.blueprint, entity.c.identifier)
    found: set[tuple[str, str]] = set()
    for start in range(0, len(keys), 1000):
        some = one_of(columns, keys[start : start + 1000])
        rows = session.execute(select(*columns).where(some, entity.c.removed.is_(False)))
        found |= {(row[0], row[1]) for row in rows}
    return found


def pointing_at(identifier: str, limit: int, session: Session) -> list[tuple[str, str, str]]:
    """(blueprint, identifier, relation) of the entities that name this identifier in a relation."""
    columns = (relation.c.blueprint, relation.c.identifier, relation.c.name)
    query = select(*columns).where(relation.c.target == identifier).order_by(*columns).limit(limit)
    return [(row[0], row[1], row[2]) for row in session.execute(query)]
