"""What runs: which resources need which, and how many there are of each version of an offering."""

from collections.abc import Collection, Mapping

from entresol_eventing.access import Principal
from sqlalchemy import func, select
from sqlmodel import Session

from entresol_catalog.domain.offerings import Stages
from entresol_catalog.store.reading import reach
from entresol_catalog.store.shelf import adapter
from entresol_catalog.store.tables import manifest, need, offering, resource


def needed_by(targets: Collection[str], who: Principal, session: Session) -> Mapping[str, list[str]]:
    """By resource: those that need it, as far as the principal reaches."""
    query = select(need.c.target, need.c.resource).where(need.c.target.in_(list(targets)), *reach(need, who))
    found: dict[str, list[str]] = {}
    for target, one in session.execute(query.distinct().order_by(need.c.target, need.c.resource)):
        found.setdefault(target, []).append(one)
    return found


def running(offerings: Collection[str], who: Principal, session: Session) -> Mapping[tuple[str, str], int]:
    """By offering and version: how many resources there are, as far as the principal reaches."""
    columns = (resource.c.offering, resource.c.version)
    query = select(*columns, func.count()).where(
        resource.c.offering.in_(list(offerings)), resource.c.state != "deleted", *reach(resource, who)
    )
    return {(row[0], row[1]): row[2] for row in session.execute(query.group_by(*columns))}


def published(offerings: Collection[str], session: Session) -> Mapping[str, list[str]]:
    """By offering: its versions in force."""
    query = select(manifest.c.name, manifest.c.version).where(
        manifest.c.kind == "Offering", manifest.c.name.in_(list(offerings)), manifest.c.removed.is_(False)
    )
    found: dict[str, list[str]] = {}
    for name, version in session.execute(query):
        found.setdefault(name, []).append(version)
    return found


def stages(offerings: Collection[str], session: Session) -> Mapping[str, Stages]:
    """By offering: what was told of the stages of its versions; nothing of those of which nothing was."""
    query = select(offering.c.document).where(offering.c.name.in_(list(offerings)))
    found = [adapter(Stages).validate_json(one) for one in session.execute(query).scalars()]
    return {name: Stages(name) for name in offerings} | {one.name: one for one in found}
