"""How runs end: each function records one terminal state and says the facts that go with it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from entresol_contracts import Payload
from entresol_contracts.events import RunCancelled, RunFailed, RunPlanned, RunSucceeded, StepPlan
from entresol_eventing.envelope import Cause
from entresol_eventing.reactions import Cancel, Emit, Outcome
from entresol_manifests.digest import digest
from entresol_manifests.expressions import ExpressionError
from sqlalchemy import Connection

from entresol_provisioning import resources, store
from entresol_provisioning.domain.graph import Impossible, StepState
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import CANCELLED, FAILED, SUCCEEDED, Request
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
    try:
        if request.dry_run:
            facts: list[Outcome] = [_planned(connection, request, offering, steps, at)]
        else:
            facts = list(_change(connection, request, offering, steps, capabilities, at))
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


def fail(connection: Connection, request: Request, reason: str, step: str | None, at: datetime) -> Iterator[Outcome]:
    """The run could not be finished, or not begun. What its steps left stays, for a delete or another create."""
    left = [one.step for one in store.footprints_of(connection, request.resource_id) if one.run_id == request.run_id]
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
    """The outcomes as answers to a remembered cause, which need not be the event that is being handled."""
    remembered = Cause.model_validate(cause)
    for outcome in outcomes:
        if isinstance(outcome, Cancel) or outcome.cause is not None:
            yield outcome
        else:
            yield replace(outcome, cause=remembered)


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


def _planned(
    connection: Connection,
    request: Request,
    offering: Offering | None,
    steps: Mapping[str, StepState],
    at: datetime,
) -> Emit:
    if request.action == "extend":
        resource = store.find_resource(connection, request.resource_id)
        assert offering is not None
        assert resource is not None
        list(resources.extend(connection, request, offering, resource, at))
    plans = [one.plan for one in steps.values() if one.plan is not None]
    return about(
        request,
        RunPlanned,
        digest=digest(plans),
        adds=sum(one["adds"] for one in plans),
        changes=sum(one["changes"] for one in plans),
        destroys=sum(one["destroys"] for one in plans),
        steps=[StepPlan(**one) for one in plans],
    )


def _end(connection: Connection, request: Request, state: str, at: datetime) -> None:
    values = {"state": state, "ended_at": at, "run_id": request.run_id, "cause": request.cause}
    store.change_request(connection, request.id, **values)


def _duration_ms(request: Request, at: datetime) -> int:
    return 0 if request.started_at is None else max(0, round((at - request.started_at).total_seconds() * 1000))
