"""What provisioning remembers: requests, their steps, resources, and what each step left in the world.

`footprint` outlives runs: it holds what a delete has to undo, also after a create that failed half way. Deleted
resources stay as rows without content, so that their revision never goes back.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, cast

from entresol_eventing.statements import Statement
from entresol_eventing.store import UtcDateTime
from sqlalchemy import JSON, Connection, Index, Table, bindparam, delete, insert, or_, select, update
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from entresol_provisioning.domain.graph import StepState
from entresol_provisioning.domain.requests import APPLY, QUEUED, RUNNING, Request, Resource


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
    """How often an approved plan was found not to hold."""
    applied: list[str] = Field(default_factory=list, sa_type=JSON)
    """Steps that were applied before the request had to be planned again."""
    __table_args__ = (Index("request_by_resource", "resource_id", "state"),)


class WaitingRow(Base, table=True):
    """Requests that may plan or apply, behind one that does so on the same resource, in log order."""

    __tablename__ = "waiting"
    position: int | None = Field(default=None, primary_key=True)
    request_id: str = Field(unique=True)
    resource_id: str = Field(index=True)


class StepRow(Base, table=True):
    """A step of a run: waiting, ready, retrying, succeeded, skipped, failed, dropped or outdated.

    `ready` is the recorded intent to act: after a restart every such step may already have been attempted.
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


def _table(model: type[SQLModel]) -> Table:
    return cast(Table, model.__table__)  # type: ignore[attr-defined]


offering, destination, request, waiting, step, footprint, resource = (
    _table(model) for model in (OfferingRow, DestinationRow, RequestRow, WaitingRow, StepRow, FootprintRow, ResourceRow)
)


_REQUEST = Statement(select(request).where(request.c.id == bindparam("id")))
_RUN = Statement(select(request).where(request.c.run_id == bindparam("run_id")))
_OPEN = or_(request.c.state == RUNNING, request.c.state == QUEUED)
_BUSY = Statement(select(request.c.id).where(request.c.resource_id == bindparam("resource_id"), _OPEN).limit(1))
_FIRST_WAITING = Statement(
    select(waiting.c.request_id)
    .where(waiting.c.resource_id == bindparam("resource_id"))
    .order_by(waiting.c.position)
    .limit(1)
)
_FORGET_WAITING = Statement(delete(waiting).where(waiting.c.request_id == bindparam("request_id")))
_STEPS = Statement(
    select(step.c.name, step.c.needs, step.c.state, step.c.outputs, step.c.plan)
    .where(step.c.run_id == bindparam("run_id"))
    .order_by(step.c.position)
)
_FORGET_STEPS = Statement(delete(step).where(step.c.run_id == bindparam("run_id")))
_RESOURCE = Statement(select(resource).where(resource.c.id == bindparam("id")))
_FOOTPRINTS = Statement(
    select(footprint).where(footprint.c.resource_id == bindparam("resource_id")).order_by(footprint.c.position)
)
_ADD_REQUEST, _ADD_STEPS, _ADD_FOOTPRINT, _ADD_RESOURCE = (
    Statement(insert(table)) for table in (request, step, footprint, resource)
)
_LINE_UP = insert(waiting)


@cache
def _changing(table: Table, columns: tuple[str, ...], *keys: str) -> Statement:
    """An update of these columns where the key columns equal the parameters `key_<column>`."""
    conditions = [table.c[name] == bindparam(f"key_{name}") for name in keys]
    return Statement(update(table).where(*conditions).values({name: bindparam(name) for name in columns}))


def add_request(connection: Connection, row: dict[str, Any]) -> None:
    _ADD_REQUEST.change(connection, **_UNBEGUN, **row)


_UNBEGUN: dict[str, Any] = {
    **dict.fromkeys(("run_id", "effective", "stop", "started_at", "ended_at", "approved")),
    "phase": APPLY,
    "outdated": 0,
    "applied": [],
}


def find_request(connection: Connection, request_id: str) -> Request | None:
    row = _REQUEST.first(connection, id=request_id)
    return None if row is None else Request(*row)


def find_run(connection: Connection, run_id: str) -> Request | None:
    """The request whose run it is."""
    row = _RUN.first(connection, run_id=run_id)
    return None if row is None else Request(*row)


def change_request(connection: Connection, request_id: str, **values: Any) -> None:
    _changing(request, tuple(values), "id").change(connection, key_id=request_id, **values)


def is_busy(connection: Connection, resource_id: str) -> bool:
    """Whether a run on the resource has not ended, or requests already wait for one."""
    return _BUSY.first(connection, resource_id=resource_id) is not None


def line_up(connection: Connection, request_id: str, resource_id: str) -> None:
    connection.execute(_LINE_UP, {"request_id": request_id, "resource_id": resource_id})


def first_waiting(connection: Connection, resource_id: str) -> str | None:
    row = _FIRST_WAITING.first(connection, resource_id=resource_id)
    return None if row is None else row[0]


def forget_waiting(connection: Connection, request_id: str) -> None:
    _FORGET_WAITING.change(connection, request_id=request_id)


def add_steps(connection: Connection, rows: list[dict[str, Any]]) -> None:
    _ADD_STEPS.many(connection, [{"outputs": None, "plan": None, "approved": None, **row} for row in rows])


def steps_of(connection: Connection, run_id: str) -> dict[str, StepState]:
    """The run's steps in the order in which they were listed."""
    return {
        name: StepState(name, tuple(needs), state, outputs or {}, plan)
        for name, needs, state, outputs, plan in _STEPS.rows(connection, run_id=run_id)
    }


def forget_steps(connection: Connection, run_id: str) -> None:
    _FORGET_STEPS.change(connection, run_id=run_id)


def change_step(
    connection: Connection, run_id: str, name: str, was: str, *, tried: int | None = None, **values: Any
) -> bool:
    """Change the step if it is in the state `was`, and at that attempt if one is named; return whether it was."""
    keys = {"run_id": run_id, "name": name, "state": was} | ({} if tried is None else {"attempt": tried})
    parameters = {f"key_{key}": value for key, value in keys.items()}
    return bool(_changing(step, tuple(values), *keys).change(connection, **parameters, **values))


def find_resource(connection: Connection, resource_id: str) -> Resource | None:
    """The resource, also if it was deleted."""
    row = _RESOURCE.first(connection, id=resource_id)
    return None if row is None else Resource(*row)


class Footprint(NamedTuple):
    """What one step has left, in the order of the table's columns."""

    resource_id: str
    step: str
    run_id: str
    position: int
    driver: str
    needs: list[str]
    with_: dict[str, Any]
    destination: dict[str, Any] | None
    outputs: dict[str, Any]


def footprints_of(connection: Connection, resource_id: str) -> Sequence[Footprint]:
    """In the order in which the steps were listed."""
    return [Footprint(*row) for row in _FOOTPRINTS.rows(connection, resource_id=resource_id)]


def leave_footprint(
    connection: Connection,
    resource_id: str,
    step_name: str,
    outputs: dict[str, Any] | None,
    *,
    known: bool,
    **values: Any,
) -> None:
    """Remember what the step left; without outputs, those that are known from before stay."""
    if known:
        changes = values if outputs is None else {**values, "outputs": outputs}
        change = _changing(footprint, tuple(changes), "resource_id", "step")
        change.change(connection, key_resource_id=resource_id, key_step=step_name, **changes)
    else:
        _ADD_FOOTPRINT.change(connection, **values, outputs=outputs or {}, resource_id=resource_id, step=step_name)


def remove_footprint(connection: Connection, resource_id: str, step_name: str | None = None) -> None:
    """Forget one step's, or all of the resource's."""
    query = delete(footprint).where(footprint.c.resource_id == resource_id)
    connection.execute(query if step_name is None else query.where(footprint.c.step == step_name))


def save_resource(connection: Connection, one: Resource, *, known: bool) -> None:
    row = {name: getattr(one, name) for name in Resource.__slots__}
    if known:
        _changing(resource, tuple(row), "id").change(connection, key_id=one.id, **row)
    else:
        _ADD_RESOURCE.change(connection, **row)


def keep_destination(connection: Connection, name: str, spec: dict[str, Any] | None) -> None:
    """Remember where the destination is; None forgets it."""
    connection.execute(delete(destination).where(destination.c.name == name))
    if spec is not None:
        connection.execute(insert(destination), {"name": name, "spec": spec})


def find_destination(connection: Connection, name: str) -> dict[str, Any] | None:
    return connection.execute(select(destination.c.spec).where(destination.c.name == name)).scalar()
