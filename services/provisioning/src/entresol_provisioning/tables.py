"""What provisioning remembers: requests, their steps, resources, and what each step left in the world.

`footprint` outlives runs: it holds what a delete has to undo, also after a create that failed half way. Deleted
resources stay as rows without content, so that their revision never goes back.
"""

from datetime import datetime
from typing import Any, cast

from entresol_eventing.store import UtcDateTime
from sqlalchemy import JSON, Index, Table
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    """A metadata of its own, because five services share one process. It is what `table_base()` makes; a type checker
    can't follow that."""


class OfferingRow(Base, table=True):
    """Every content an offering version ever had: requests and resources go on with the one they began with."""

    __tablename__ = "offering"
    digest: str = Field(primary_key=True)
    name: str
    version: str
    current: bool
    manifest: dict[str, Any] = Field(sa_type=JSON)
    __table_args__ = (Index("offering_by_version", "name", "version"),)


class DestinationRow(Base, table=True):
    __tablename__ = "destination"
    name: str = Field(primary_key=True)
    spec: dict[str, Any] = Field(sa_type=JSON)


class RequestRow(Base, table=True):
    """A request and the newest of its passes."""

    __tablename__ = "request"
    id: str = Field(primary_key=True)
    resource_id: str
    project: str
    environment: str
    offering: str
    offering_version: str
    offering_digest: str | None
    name: str
    action: str
    inputs: dict[str, Any] = Field(sa_type=JSON)
    actor: dict[str, Any] = Field(sa_type=JSON)
    dry_run: bool
    lifetime_seconds: int | None
    reason: str | None
    submitted_at: datetime = Field(sa_type=UtcDateTime)
    state: str
    cause: dict[str, Any] = Field(sa_type=JSON)
    """Of the newest fact that moved the request on."""
    run_id: str | None = Field(default=None, unique=True)
    destroys: bool = False
    steps: int = 0
    effective: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """Inputs as the steps see them, fixed when the run begins."""
    stop: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """Why no further step may begin: {outcome: cancelled|failed|refused|again, reason, step, phase}."""
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    phase: str = "apply"
    approved: str | None = None
    """Digest of the plan that policy has allowed; None if it allows whatever is needed, or has not said a word yet."""
    outdated: int = 0
    """How often in a row an approved plan was found not to hold, though nobody had given the resource other inputs."""
    applied: list[str] = Field(default_factory=list, sa_type=JSON)
    """Steps that were applied before the request had to be planned again."""
    class_: str | None = None
    requirement: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """What needs the resource: {request_id, resource_id, name}; absent if a person or a trigger asked."""
    snapshot: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    orphan: bool = False
    implementation: str | None = None
    judged: str | None = None
    """Digest of the inputs that policy has judged; None if they can't be others, or nothing was judged."""
    __table_args__ = (Index("request_by_resource", "resource_id", "state"),)


class WaitingRow(Base, table=True):
    """Requests that may plan or apply, behind one that does so on the same resource, in log order."""

    __tablename__ = "waiting"
    position: int | None = Field(default=None, primary_key=True)
    request_id: str = Field(unique=True)
    resource_id: str = Field(index=True)


class StepRow(Base, table=True):
    """A step of a run: waiting, ready, retrying, suspended, succeeded, skipped, failed, dropped or outdated.

    `ready` is the recorded intent to act: after a restart every such step may already have been attempted. What stands
    for another resource is `suspended` while that is made, and never `ready`.
    """

    __tablename__ = "step"
    run_id: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    position: int
    driver: str
    needs: list[str] = Field(sa_type=JSON)
    state: str = Field(index=True)
    attempt: int
    outputs: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    plan: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    approved: str | None = None
    """What it is held to: digest of its approved plan, or `skipped`; None: nothing."""
    act: str = "apply"
    """What is done: apply, adopt, destroy, or restore what stood there before."""
    memory: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """Of a step that was suspended: {reason, memory, resumable, until, answer, withdraws, given_up}."""


class FootprintRow(Base, table=True):
    """What a step left in the world, with everything needed to undo it."""

    __tablename__ = "footprint"
    resource_id: str = Field(primary_key=True)
    step: str = Field(primary_key=True)
    run_id: str
    position: int
    driver: str
    needs: list[str] = Field(sa_type=JSON)
    with_: dict[str, Any] = Field(sa_type=JSON)
    destination: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    outputs: dict[str, Any] = Field(sa_type=JSON)
    fingerprint: str | None = None
    """Of all that the step was done with; None if it did not succeed."""
    former: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """What stood there before the run that it is of, with all that it takes to put it back."""
    needs_resource: str | None = Field(default=None, index=True)
    """The other resource that it stands for."""


class ResourceRow(Base, table=True):
    """A resource: provisioned, expired or deleted."""

    __tablename__ = "resource"
    id: str = Field(primary_key=True)
    project: str
    environment: str
    offering: str
    offering_version: str
    offering_digest: str
    name: str
    owner: str
    state: str
    inputs: dict[str, Any] = Field(sa_type=JSON)
    outputs: dict[str, Any] = Field(sa_type=JSON)
    entity: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revision: int
    request_id: str
    class_: str | None = None
    implementation: str | None = None
    requirement: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """Who first needed it, if it was made for another resource."""
    paused: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """{by, reason, until}"""
    drift: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """What differed when it was last seen, and how often that was told to be put right: {digest, asked, again_at}"""
    seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was last compared with the world."""
    missed: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """The looks in a row that have failed since: {since, count}"""
    unobserved: bool = False
    """Whether that was told."""
    __table_args__ = (Index("resource_by_offering", "offering"),)


class LookRow(Base, table=True):
    """Resources that are to be compared with the world now; each once."""

    __tablename__ = "look"
    resource_id: str = Field(primary_key=True)
    asked_at: datetime = Field(sa_type=UtcDateTime, index=True)
    again_at: datetime | None = Field(sa_type=UtcDateTime)
    """When it was asked for last, if more than once: a look that had begun by then may have come too early."""


class HoldingRow(Base, table=True):
    """What a step alone may change, as `holdings` says; the rest goes with the footprint."""

    __tablename__ = "holding"
    address: str = Field(primary_key=True)
    resource_id: str
    step: str
    __table_args__ = (Index("holding_by_step", "resource_id", "step"),)


class AnnouncementRow(Base, table=True):
    """Of what was last said of a driver."""

    __tablename__ = "announcement"
    driver: str = Field(primary_key=True)
    digest: str


def _table(model: type[SQLModel]) -> Table:
    return cast(Table, model.__table__)  # type: ignore[attr-defined]


_MODELS: tuple[type[SQLModel], ...] = (
    OfferingRow,
    DestinationRow,
    RequestRow,
    WaitingRow,
    StepRow,
    FootprintRow,
    ResourceRow,
    LookRow,
    AnnouncementRow,
    HoldingRow,
)
offering, destination, request, waiting, step, footprint, resource, look, announcement, holding = (
    _table(model) for model in _MODELS
)
