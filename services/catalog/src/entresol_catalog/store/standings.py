"""Where entities stand on scorecards, and what is asked to tell where they should."""

from collections.abc import Collection

from entresol_eventing.store import one_of
from sqlalchemy import select
from sqlmodel import Session

from entresol_catalog.domain.entities import Entity
from entresol_catalog.domain.listings import Manifest
from entresol_catalog.domain.scorecards import Result, Standing
from entresol_catalog.store.shelf import Key, adapter
from entresol_catalog.store.tables import entity, manifest, standing


def scorecards_in_force(session: Session) -> list[Manifest]:
    query = select(manifest.c.document).where(manifest.c.kind == "Scorecard", manifest.c.removed.is_(False))
    return [adapter(Manifest).validate_json(one) for one in session.execute(query).scalars()]


def elsewhere(
    scorecard: str, blueprint: str | None, after: int, limit: int, session: Session
) -> list[tuple[int, Standing]]:
    """(position, standing) of a scorecard's from behind a position on, without those of a blueprint if one is given."""
    query = select(standing.c.position, standing.c.document).where(
        standing.c.scorecard == scorecard, standing.c.position > after, standing.c.removed.is_(False)
    )
    if blueprint is not None:
        query = query.where(standing.c.blueprint != blueprint)
    rows = session.execute(query.order_by(standing.c.position).limit(limit))
    return [(row.position, adapter(Standing).validate_json(row.document)) for row in rows]


def entities_behind(blueprint: str, after: str, limit: int, session: Session) -> list[Entity]:
    """The entities of a blueprint that exist, by identifier, from behind one on."""
    query = select(entity.c.document).where(
        entity.c.blueprint == blueprint, entity.c.identifier > after, entity.c.removed.is_(False)
    )
    rows = session.execute(query.order_by(entity.c.identifier).limit(limit)).scalars()
    return [adapter(Entity).validate_json(one) for one in rows]


def standings_up_to(
    scorecard: str, blueprint: str, after: str, last: str, session: Session
) -> dict[str, Result | None]:
    """By identifier, from behind one up to another."""
    query = select(standing.c.document).where(
        standing.c.scorecard == scorecard,
        standing.c.blueprint == blueprint,
        standing.c.identifier > after,
        standing.c.identifier <= last,
    )
    found = (adapter(Standing).validate_json(one) for one in session.execute(query).scalars())
    return {one.identifier: one.result for one in found}


def standings_of(entities: Collection[Key], session: Session) -> dict[Key, list[Standing]]:
    """By (blueprint, identifier): where each of these entities stands, by the names of the scorecards."""
    query = select(standing.c.document).where(
        one_of((standing.c.blueprint, standing.c.identifier), list(entities)), standing.c.removed.is_(False)
    )
    found: dict[Key, list[Standing]] = {}
    for row in session.execute(query.order_by(standing.c.scorecard)).scalars():
        one = adapter(Standing).validate_json(row)
        found.setdefault((one.blueprint, one.identifier), []).append(one)
    return found
