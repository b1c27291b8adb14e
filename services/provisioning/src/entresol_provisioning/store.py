"""Queries on what provisioning remembers; `tables` says what that is."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from entresol_eventing.envelope import now
from entresol_eventing.statements import Statement
from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, delete, insert, literal, or_, select, update

from entresol_provisioning import holdings
from entresol_provisioning.domain.graph import StepState
from entresol_provisioning.domain.offering import HOW_TO_BE
from entresol_provisioning.domain.requests import APPLY, QUEUED, RUNNING, SUCCEEDED, Request, Resource
from entresol_provisioning.tables import (
    destination,
    footprint,
    look,
    offering,
    request,
    resource,
    step,
    waiting,
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
    .add_columns(step.c.driver, step.c.act, step.c.memory)
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
_SOME = 500
"""Ids that are named in one statement."""


@cache
def _changing(table: Table, columns: tuple[str, ...], *keys: str) -> Statement:
    """An update of these columns where the key columns equal the parameters `key_<column>`."""
    conditions = [table.c[name] == bindparam(f"key_{name}") for name in keys]
    return Statement(update(table).where(*conditions).values({name: bindparam(name) for name in columns}))


def add_request(connection: Connection, row: dict[str, Any]) -> None:
    _ADD_REQUEST.change(connection, **_UNBEGUN, **row)


_UNTRIED: dict[str, Any] = {**dict.fromkeys(("outputs", "plan", "approved", "memory")), "act": "apply", "attempt": 1}
_UNBEGUN: dict[str, Any] = {
    **dict.fromkeys(("run_id", "effective", "stop", "started_at", "ended_at", "approved", "implementation", "judged")),
    "phase": APPLY,
    "outdated": 0,
    "applied": [],
}


def add_refused(connection: Connection, one: Request) -> None:
    """A request that ended before it was one."""
    _ADD_REQUEST.change(connection, **{name: getattr(one, name) for name in Request.__slots__})


def find_request(connection: Connection, request_id: str) -> Request | None:
    row = _REQUEST.first(connection, id=request_id)
    return None if row is None else Request(*row)


def find_run(connection: Connection, run_id: str) -> Request | None:
    """The request whose run it is."""
    row = _RUN.first(connection, run_id=run_id)
    return None if row is None else Request(*row)


def change_request(connection: Connection, request_id: str, **values: Any) -> None:
    _changing(request, tuple(values), "id").change(connection, key_id=request_id, **values)


def inputs_once(connection: Connection, resource_id: str, version: str) -> list[dict[str, Any]]:
    """The inputs that the resource has had with that version of its offering."""
    query = select(request.c.effective).where(
        request.c.resource_id == resource_id,
        request.c.state == SUCCEEDED,
        request.c.offering_version == version,
        request.c.action.in_(HOW_TO_BE),
        request.c.dry_run.is_(False),
    )
    return list(connection.execute(query).scalars())


def is_busy(connection: Connection, resource_id: str) -> bool:
    """Whether a run on the resource has not ended, or requests already wait for one."""
    return _BUSY.first(connection, resource_id=resource_id) is not None


def is_being_deleted(connection: Connection, resource_id: str) -> bool:
    deletes = (request.c.resource_id == resource_id, request.c.state == RUNNING, request.c.action == "delete")
    return connection.execute(select(request.c.id).where(*deletes).limit(1)).first() is not None


def line_up(connection: Connection, request_id: str, resource_id: str) -> None:
    connection.execute(_LINE_UP, {"request_id": request_id, "resource_id": resource_id})


def first_waiting(connection: Connection, resource_id: str) -> str | None:
    row = _FIRST_WAITING.first(connection, resource_id=resource_id)
    return None if row is None else row[0]


def forget_waiting(connection: Connection, request_id: str) -> None:
    _FORGET_WAITING.change(connection, request_id=request_id)


def add_steps(connection: Connection, rows: list[dict[str, Any]]) -> None:
    _ADD_STEPS.many(connection, [{**_UNTRIED, **row} for row in rows])


def steps_of(connection: Connection, run_id: str) -> dict[str, StepState]:
    """The run's steps in the order in which they were listed."""
    return {
        name: StepState(name, tuple(needs), state, outputs or {}, plan, driver, act, memory)
        for name, needs, state, outputs, plan, driver, act, memory in _STEPS.rows(connection, run_id=run_id)
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


def wake(connection: Connection, request_id: str, step_name: str) -> None:
    """Let a suspended step of the request's run go on, if it is one and that is how it is called."""
    run_id = select(request.c.run_id).where(request.c.id == request_id).scalar_subquery()
    conditions = (step.c.run_id == run_id, step.c.name.in_((step_name, f"undo/{step_name}")))
    connection.execute(update(step).where(*conditions, step.c.state == "suspended").values(state="ready"))


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
    outputs: dict[str, Any] | None
    """None as long as the step was never done."""
    fingerprint: str | None = None
    former: dict[str, Any] | None = None
    needs_resource: str | None = None


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
    if outputs is not None:
        holder, held = holdings.Holder(resource_id, step_name), holdings.addresses(values["driver"], outputs)
        if known or held:
            holdings.keep(connection, holder, held)
    if known:
        changes = values if outputs is None else {**values, "outputs": outputs}
        change = _changing(footprint, tuple(changes), "resource_id", "step")
        change.change(connection, key_resource_id=resource_id, key_step=step_name, **changes)
    else:
        row = {"fingerprint": None, "former": None, "needs_resource": None, **values, "outputs": outputs}
        _ADD_FOOTPRINT.change(connection, **row, resource_id=resource_id, step=step_name)


def remove_footprint(connection: Connection, resource_id: str, step_name: str | None = None) -> None:
    """Forget one step's, or all of the resource's."""
    holdings.forget(connection, resource_id, step_name)
    query = delete(footprint).where(footprint.c.resource_id == resource_id)
    connection.execute(query if step_name is None else query.where(footprint.c.step == step_name))


def dependents(connection: Connection, resource_id: str) -> list[str]:
    """Resources that need this one, in the order of their names."""
    query = select(footprint.c.resource_id).where(footprint.c.needs_resource == resource_id).distinct()
    return sorted(connection.execute(query).scalars())


def open_delete(connection: Connection, resource_id: str) -> bool:
    """Whether a delete of the resource has begun, or waits for its turn."""
    query = select(request.c.id).where(request.c.resource_id == resource_id, request.c.action == "delete", _OPEN)
    return connection.execute(query.limit(1)).first() is not None


def save_resource(connection: Connection, one: Resource, *, known: bool) -> None:
    row = {name: getattr(one, name) for name in Resource.__slots__}
    if known:
        _changing(resource, tuple(row), "id").change(connection, key_id=one.id, **row)
    else:
        _ADD_RESOURCE.change(connection, **row)


def change_resource(connection: Connection, resource_id: str, **values: Any) -> None:
    """What nobody is told of, so that its revision stays."""
    _changing(resource, tuple(values), "id").change(connection, key_id=resource_id, **values)


def keep_destination(connection: Connection, name: str, spec: dict[str, Any] | None) -> None:
    """Remember where the destination is; None forgets it."""
    connection.execute(delete(destination).where(destination.c.name == name))
    if spec is not None:
        connection.execute(insert(destination), {"name": name, "spec": spec})


def find_destination(connection: Connection, name: str) -> dict[str, Any] | None:
    return connection.execute(select(destination.c.spec).where(destination.c.name == name)).scalar()


def looks(most: int) -> Select[str]:
    """The resources that are to be compared with the world, asked for the longest first. What is worked on has time."""
    works = select(request.c.id).where(request.c.resource_id == look.c.resource_id, _OPEN)
    return select(look.c.resource_id).where(~works.exists()).order_by(look.c.asked_at).limit(most)


def ask_to_look(connection: Connection, resource_ids: Sequence[str]) -> None:
    """Have these compared with the world after now, but for what has been deleted; once, however often it is asked."""
    for begin in range(0, len(resource_ids), _SOME):
        some = resource_ids[begin : begin + _SOME]
        _ask(connection, resource.c.id.in_(some), resource.c.state != "deleted")


def ask_to_look_at_all(connection: Connection, offering_digest: str, after: str) -> None:
    """Have all resources with this content of an offering compared with the world that come after one by their ids."""
    _ask(connection, *existing(offering_digest), resource.c.id > after)


def existing(offering_digest: str) -> tuple[ColumnElement[bool], ...]:
    """Conditions of the resources that exist with this content of an offering."""
    name = select(offering.c.name).where(offering.c.digest == offering_digest).scalar_subquery()
    content = resource.c.offering_digest == offering_digest
    return (resource.c.offering == name, content, resource.c.state != "deleted")


def _ask(connection: Connection, *conditions: ColumnElement[bool]) -> None:
    at = now()
    concerned = select(resource.c.id).where(*conditions)
    connection.execute(update(look).where(look.c.resource_id.in_(concerned)).values(again_at=at))
    asked = select(look.c.resource_id).where(look.c.resource_id == resource.c.id)
    wanted = concerned.add_columns(literal(at, look.c.asked_at.type)).where(~asked.exists())
    connection.execute(insert(look).from_select(["resource_id", "asked_at"], wanted))


def forget_look(connection: Connection, resource_id: str, begun_at: datetime | None = None) -> None:
    """It was looked at from then on, or is not to be. What was asked for later is still to be done, in its turn."""
    this = look.c.resource_id == resource_id
    if begun_at is not None:
        later = update(look).where(this, look.c.again_at > begun_at)
        connection.execute(later.values(asked_at=look.c.again_at, again_at=None))
        this = this & (look.c.asked_at <= begun_at)
    connection.execute(delete(look).where(this))
