"""How runs end: each function records one terminal state and says the facts that go with it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from entresol_contracts import Payload
from entresol_contracts.events import RunCancelled, RunFailed, RunPlanned, RunSucceeded
from entresol_eventing.envelope import Cause
from entresol_eventing.reactions import Emit, Outcome, caused_by
from entresol_manifests.expressions import ExpressionError
from sqlalchemy import Connection

from entresol_provisioning import plans, resources, store
from entresol_provisioning.domain.graph import Impossible, StepState
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import CANCELLED, FAILED, PLANNED, REFUSED, SUCCEEDED, Request
from entresol_provisioning.scopes import variables


def succeed(
    connection: Connection,
    request: Request,
    offering: Offering | None,
    steps: Mapping[str, StepState],
    capabilities: Mapping[str, bool],
    at: datetime,
) -> Iterator[Outcome]:
    """Every step is done: say what became of the resource, then that the run succeeded.

    Ends the run as failed instead if the offering's outputs or entity can't be told.
    """
    whole = (connection, request, offering, steps, capabilities, at)
    try:
        facts = [about(request, RunPlanned, **plans.tell(*whole))] if request.dry_run else list(_change(*whole))
    except (ExpressionError, Impossible) as error:
        yield from fail(connection, request, str(error), None, at)
        return
    _end(connection, request, SUCCEEDED, at)
    yield from facts
    yield about(
        request,
        RunSucceeded,
        action=request.action,
        outputs=next((one.data.outputs for one in facts if isinstance(one, Emit) and hasattr(one.data, "outputs")), {}),
        duration_ms=_duration_ms(request, at),
        dry_run=request.dry_run,
    )


def show(connection: Connection, request: Request, told: Mapping[str, Any]) -> Iterator[Outcome]:
    """The plan is made, and waits for policy; if another one was approved before, it replaces that."""
    store.change_request(connection, request.id, state=PLANNED, approved=None, outdated=request.outdated)
    yield about(request, RunPlanned, **told, replaces=request.approved)


def verify(connection: Connection, request: Request, at: datetime) -> Iterator[Outcome]:
    """What a dry run was allowed to do is still what it would do."""
    _end(connection, request, SUCCEEDED, at)
    yield about(
        request,
        RunSucceeded,
        action=request.action,
        outputs={},
        duration_ms=_duration_ms(request, at),
        dry_run=True,
    )


def refuse(connection: Connection, request: Request, at: datetime) -> None:
    """Policy has ended the request, and said so."""
    _end(connection, request, REFUSED, at)


def fail(connection: Connection, request: Request, reason: str, step: str | None, at: datetime) -> Iterator[Outcome]:
    """The run could not be finished, or not begun. What its steps left stays, for a delete or another create."""
    left = [
        one.step
        for one in store.footprints_of(connection, request.resource_id)
        if one.run_id == request.run_id or one.step in request.applied
    ]
    if left and request.action == "create" and not request.dry_run:
        reason = f"{reason} (left behind until a delete or another create: {', '.join(left)})"
    _end(connection, request, FAILED, at)
    yield about(
        request, RunFailed, action=request.action, reason=reason, step=step, duration_ms=_duration_ms(request, at)
    )


def cancel(
    connection: Connection, request: Request, reason: str, remaining: Sequence[str], at: datetime
) -> Iterator[Outcome]:
    """Stopped because somebody asked; the steps in `remaining` have left something."""
    _end(connection, request, CANCELLED, at)
    yield about(request, RunCancelled, action=request.action, reason=reason, steps_done=list(remaining))


def about(request: Request, payload: type[Payload], **fields: Any) -> Emit:
    """A fact about the request's run."""
    names = {
        "request_id": request.id,
        "resource_id": request.resource_id,
        "project": request.project,
        "run_id": request.run_id,
    }
    return Emit(payload(**names, **fields), subject=request.id, partitionkey=request.resource_id)


def because(outcomes: Iterable[Outcome], cause: Mapping[str, Any]) -> Iterator[Outcome]:
    """The outcomes as answers to the cause that the request remembers."""
    return caused_by(Cause.model_validate(cause), outcomes)


def _change(
    connection: Connection,
    request: Request,
    offering: Offering | None,
    steps: Mapping[str, StepState],
    capabilities: Mapping[str, bool],
    at: datetime,
) -> Iterator[Outcome]:
    resource = store.find_resource(connection, request.resource_id)
    if request.action == "delete":
        store.remove_footprint(connection, request.resource_id)
        if resource is not None and resource.exists:
            yield from resources.remove(connection, request, resource)
        return
    assert offering is not None
    if request.action == "extend":
        assert resource is not None
        yield from resources.extend(connection, request, offering, resource, at)
        return
    outputs = {}
    if request.action != "create":
        left = store.footprints_of(connection, request.resource_id)
        outputs = {one.step: one.outputs for one in left}
    outputs |= {name: one.outputs for name, one in steps.items()}
    scope = variables(request, resource, outputs, capabilities)
    yield from resources.settle(connection, request, offering, resource, scope, at)


def _end(connection: Connection, request: Request, state: str, at: datetime) -> None:
    values = {"state": state, "ended_at": at, "run_id": request.run_id, "cause": request.cause}
    store.change_request(connection, request.id, **values)


def _duration_ms(request: Request, at: datetime) -> int:
    return 0 if request.started_at is None else max(0, round((at - request.started_at).total_seconds() * 1000))
