"""Manifests that were applied, and how far each version of an offering has come."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from entresol_eventing.store import UtcDateTime
from sqlalchemy import JSON, ColumnElement, Index, delete, select, text, update
from sqlmodel import Field, Session

from entresol_intake.store.base import Base, add, table


class Manifest(Base, table=True):
    """What was applied. A removed version of an offering stays, so that its number can't be given to other content."""

    __tablename__ = "manifest"
    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    version: str = Field(primary_key=True)
    """An offering's version; an entity's blueprint; else empty."""
    digest: str
    document: dict[str, Any] = Field(sa_type=JSON)
    removed: bool
    changed_at: datetime = Field(sa_type=UtcDateTime)


class Stage(Base, table=True):
    """How far a version of an offering has come. A version without a row is published and no more than that: it can be
    asked for by its number, as a former default can."""

    __tablename__ = "stage"
    offering: str = Field(primary_key=True)
    version: str = Field(primary_key=True)
    stage: str
    """proposed, default, deprecated or defective."""
    __table_args__ = (
        Index(
            "stage_default",
            "offering",
            unique=True,
            sqlite_where=text("stage = 'default'"),
            postgresql_where=text("stage = 'default'"),
        ),
    )


manifests, stages = table(Manifest), table(Stage)


def documents_of(
    kind: str, session: Session, *names: str, removed: bool = False
) -> Sequence[tuple[dict[str, Any], bool]]:
    """Manifests of a kind, with whether each is removed; all names if none is given."""
    query = select(manifests.c.document, manifests.c.removed).where(manifests.c.kind == kind)
    if names:
        query = query.where(manifests.c.name.in_(names))
    if not removed:
        query = query.where(manifests.c.removed.is_(False))
    ordered = query.order_by(manifests.c.name, manifests.c.version)
    return [(row[0], row[1]) for row in session.connection().execute(ordered)]


def is_removed(offering: str, version: str, session: Session) -> bool | None:
    """Whether this version of an offering was taken out of force; None if it was never applied."""
    query = select(manifests.c.removed).where(
        manifests.c.kind == "Offering", manifests.c.name == offering, manifests.c.version == version
    )
    return session.connection().execute(query).scalar()


def stages_of(offering: str, session: Session) -> dict[str, str]:
    """The versions of an offering that have a stage, and which."""
    query = select(stages.c.version, stages.c.stage).where(stages.c.offering == offering)
    return {row[0]: row[1] for row in session.connection().execute(query)}


def put_stage(offering: str, version: str, stage: str, *, known: bool, session: Session) -> None:
    """Record the stage; `known`: whether the version has one already."""
    if known:
        changed = update(stages).where(_of(offering, version)).values(stage=stage)
        session.connection().execute(changed)
    else:
        add(session, stages, {"offering": offering, "version": version, "stage": stage})


def drop_stage(offering: str, version: str, session: Session) -> None:
    session.connection().execute(delete(stages).where(_of(offering, version)))


def _of(offering: str, version: str) -> ColumnElement[bool]:
    return (stages.c.offering == offering) & (stages.c.version == version)
