"""How runs end: each function records one terminal state and says the facts that go with it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from entresol_contracts import Payload
from entresol_contracts.events import Orphan, RunCancelled, RunFailed, RunPlanned, RunSucceeded
from entresol_eventing.envelope import Cause
from entresol_eventing.reactions import Emit, Outcome, caused_by
from entresol_manifests.expressions import ExpressionError
from sqlalchemy import Connection

from entresol_provisioning import drifts, pauses, plans, resources, store
from entresol_provisioning.beginnings import exists_for_another
from entresol_provisioning.claims import DESTROY
from entresol_provisioning.domain.graph import Impossible, StepState
from entresol_provisioning.domain.offering import REQUIRES, Offering
from entresol_provisioning.domain.requests import (
    CANCELLED,
    FAILED,
    PLANNED,
    REFUSED,
    SUCCEEDED,
    WITHOUT_STEPS,
    Request,
)
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
    """The plan is made, and waits for policy; it replaces what was approved or judged before, if anything was."""
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


def refuse(connection: Connection, request: Request, reason: str, at: datetime) -> None:
    """Policy has ended the request, and said so."""
    _end(connection, request, REFUSED, at, reason)


def fail(
    connection: Connection,
    request: Request,
    reason: str,
    step: str | None,
    at: datetime,
    compensated: Sequence[str] = (),
) -> Iterator[Outcome]:
    """The run could not be finished, or not begun. What its steps left stays, for a delete or another create."""
    left = [one for one in _left(connection, request) if one not in compensated]
    if left and request.action == "create" and not request.dry_run:
        reason = f"{reason} (left behind until a delete or another create: {', '.join(left)})"
    _end(connection, request, FAILED, at, reason)
    yield about(
        request,
        RunFailed,
        action=request.action,
        reason=reason,
        step=step,
        duration_ms=_duration_ms(request, at),
        left=left or None,
        compensated=list(compensated) or None,
    )


def cancel(
    connection: Connection,
    request: Request,
    reason: str,
    applied: Sequence[str],
    at: datetime,
    compensated: Sequence[str] = (),
) -> Iterator[Outcome]:
    """Stopped because somebody asked; those steps were applied, and others may have left something half way."""
    half_way = () if request.action == "delete" else _left(connection, request)
    remaining = [one for one in dict.fromkeys((*applied, *half_way)) if one not in compensated]
    _end(connection, request, CANCELLED, at, reason)
    yield about(
        request,
        RunCancelled,
        action=request.action,
        reason=reason,
        steps_done=remaining,
        compensated=list(compensated) or None,
    )


def _left(connection: Connection, request: Request) -> list[str]:
    """Steps that this request has left something of; of a delete, all that could not be taken down."""
    footprints = store.footprints_of(connection, request.resource_id)
    if request.action == "delete":
        return [one.step for one in footprints] if request.destroys and not request.plans else []
    return [one.step for one in footprints if one.run_id == request.run_id or one.step in request.applied]


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
    if exists_for_another(request, resource):
        return
    if request.action == "delete":
        orphans = orphaned(steps)
        store.remove_footprint(connection, request.resource_id)
        if resource is not None and resource.exists:
            yield from resources.remove(connection, request, resource, orphans)
        return
    assert offering is not None
    if request.action in WITHOUT_STEPS:
        assert resource is not None
        change = {"extend": resources.extend, "pause": pauses.pause, "unpause": pauses.unpause}[request.action]
        yield from change(connection, request, offering, resource, at)
        return
    left = store.footprints_of(connection, request.resource_id)
    outputs = {} if request.action == "create" else {one.step: one.outputs or {} for one in left}
    outputs |= {name: one.outputs for name, one in steps.items() if one.act != DESTROY}
    scope = variables(request, resource, outputs, capabilities)
    settled = yield from resources.settle(connection, request, offering, resource, scope, at)
    differences = [one for each in steps.values() for one in (each.memory or {}).get("differences", ())]
    yield from drifts.begin(connection, settled, offering, differences, at)


def orphaned(steps: Mapping[str, StepState]) -> list[Orphan]:
    """What the steps have left in the world although they were to take it down."""
    kept = ((one, (one.memory or {}).get("kept")) for one in steps.values())
    return [Orphan(step=one.name, driver=one.driver, reason=reason) for one, reason in kept if reason]


def _end(connection: Connection, request: Request, state: str, at: datetime, reason: str | None = None) -> None:
    """`reason` is for whoever waits for this request to go on with their own."""
    values: dict[str, Any] = {"state": state, "ended_at": at, "run_id": request.run_id, "cause": request.cause}
    if reason is not None:
        values["stop"] = {"outcome": state, "reason": reason}
    store.change_request(connection, request.id, **values)
    if request.requirement is not None:
        store.wake(connection, request.requirement["request_id"], REQUIRES + request.requirement["name"])


def _duration_ms(request: Request, at: datetime) -> int:
    return 0 if request.started_at is None else max(0, round((at - request.started_at).total_seconds() * 1000))
