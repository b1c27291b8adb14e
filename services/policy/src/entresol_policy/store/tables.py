"""Policy's tables: manifests in force, requests that were not decided at once, approvals, locks, waivers, and two
projections of what others say: entities of the catalog, and resources as far as quotas count them.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from entresol_eventing.store import UtcDateTime, table_base
from sqlalchemy import JSON, Index, Table
from sqlmodel import Field, SQLModel

if TYPE_CHECKING:  # a base class that is made by a call has no type of its own

    class Base(SQLModel): ...

else:
    Base = table_base()


class ManifestRow(Base, table=True):
    """A policy, window or quota in force; or, named by both, a version of an offering."""

    __tablename__ = "manifest"
    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    digest: str
    manifest: dict[str, Any] = Field(sa_type=JSON)


class RequestRow(Base, table=True):
    """A request that was not decided at once, kept after its end so that later answers are told why they don't count.

    Its states: planning, waiting (for people), held, then allowed, denied, rejected, expired, cancelled or failed.
    """

    __tablename__ = "request"
    id: str = Field(primary_key=True)
    state: str
    document: dict[str, Any] = Field(sa_type=JSON)
    """`request.submitted`'s data."""
    plan: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """`run.planned`'s data, if it was planned."""
    holds: list[Any] = Field(sa_type=JSON)
    """What was said to hold it last."""
    overridden: list[Any] = Field(sa_type=JSON)
    """Locks and windows that somebody let it through."""
    cause: dict[str, Any] = Field(sa_type=JSON)
    """Of the newest event of its chain."""
    changed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    __table_args__ = (Index("request_state", "state", "id"), Index("request_changed_at", "changed_at"))


class ApprovalRow(Base, table=True):
    __tablename__ = "approval"
    id: str = Field(primary_key=True)
    request_id: str
    policy: str
    state: str
    plan_digest: str | None = None
    ask: dict[str, Any] = Field(sa_type=JSON)
    """As it was asked: approvers, count, all, not_self, because."""
    document: dict[str, Any] = Field(sa_type=JSON)
    """How it stands: answers, delegations, who was asked later."""
    __table_args__ = (Index("approval_request", "request_id"),)


class LockRow(Base, table=True):
    """A lock that has not ended."""

    __tablename__ = "lock"
    id: str = Field(primary_key=True)
    scope: dict[str, Any] = Field(sa_type=JSON)
    because: str
    by: str
    exempt: list[str] = Field(sa_type=JSON)
    until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WaiverRow(Base, table=True):
    """A waiver that has not ended."""

    __tablename__ = "waiver"
    id: str = Field(primary_key=True)
    waives: str
    rule: int | None = None
    rule_digest: str | None = None
    """Of the rule that had the number when it was granted."""
    scope: dict[str, Any] = Field(sa_type=JSON)
    ticket: str
    until: datetime = Field(sa_type=UtcDateTime)


class EntityRow(Base, table=True):
    """An entity of the catalog, as it was told of last."""

    __tablename__ = "entity"
    blueprint: str = Field(primary_key=True)
    identifier: str = Field(primary_key=True)
    revision: int
    document: dict[str, Any] = Field(sa_type=JSON)


class ScoreRow(Base, table=True):
    """An entity's level of a scorecard."""

    __tablename__ = "score"
    blueprint: str = Field(primary_key=True)
    identifier: str = Field(primary_key=True)
    scorecard: str = Field(primary_key=True)
    document: dict[str, Any] = Field(sa_type=JSON)
    """level, rank, rules."""


class ResourceRow(Base, table=True):
    """A resource that exists, as quotas see it."""

    __tablename__ = "resource"
    id: str = Field(primary_key=True)
    document: dict[str, Any] = Field(sa_type=JSON)


class ShareRow(Base, table=True):
    """What a resource counts in a quota: as it is, and as requests that were allowed will make it."""

    __tablename__ = "share"
    quota: str = Field(primary_key=True)
    resource_id: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    """Empty for the resource as it is."""
    per: str
    amount: float
    uncounted: str | None = None
    """Why it can't be counted."""
    __table_args__ = (Index("share_quota", "quota", "per"), Index("share_request", "request_id"))


class ReservationRow(Base, table=True):
    """A resource as a request that was allowed will make it, until it is so or never will be.

    Kept while there are quotas: what changes or comes into force meanwhile counts it too.
    """

    __tablename__ = "reservation"
    request_id: str = Field(primary_key=True)
    document: dict[str, Any] = Field(sa_type=JSON)


def table(model: type[SQLModel]) -> Table:
    """The plain table of a model, for statements that skip the ORM."""
    return Base.metadata.tables[str(model.__tablename__)]
