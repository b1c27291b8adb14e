"""What has to be undone of a run that failed or was cancelled, where the offering asks for it.

Steps are undone in the reverse order of their making, and one only when everything that was built on it is undone. A
step that failed may have left something, so it is undone too. What a step says for itself goes before what is usual:
what was made is taken down, what was changed is made again as it stood before. What is adopted was there before and
has not been changed, so nothing of it is undone.

Undoing can be stopped: then nothing more of it begins, and the run ends as it would have, with what is left.
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from entresol_contracts.events import CompensationFailed, CompensationSucceeded
from entresol_eventing.reactions import Outcome
from sqlalchemy import Connection

from entresol_provisioning import endings, store, waits
from entresol_provisioning.claims import APPLY, DESTROY, RESTORE, UNDO
from entresol_provisioning.domain.graph import DONE, StepState, backwards, ready
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import CANCELLED, Request
from entresol_provisioning.endings import about, because
from entresol_provisioning.verdicts import Verdict
from entresol_provisioning.waits import WAITING


def rows(
    connection: Connection, request: Request, offering: Offering | None, steps: Mapping[str, StepState]
) -> list[dict[str, Any]]:
    """The steps that undo, to be added to the run; none if nothing has to be undone."""
    action = None if offering is None else offering.action(request.action, request.implementation)
    if action is None or not action.compensates or request.action == "adopt":
        return []
    own = {one.name: one.compensate for one in action.steps or () if one.compensate is not None}
    left = {
        one.step: one
        for one in store.footprints_of(connection, request.resource_id)
        if one.run_id == request.run_id or one.step in request.applied
    }
    acts: dict[str, tuple[str, str]] = {}
    for name, one in steps.items():
        if name in own and one.state == "succeeded":
            acts[name] = (own[name].driver, APPLY)
        elif name in left and (request.action == "create" or left[name].former is None):
            acts[name] = (left[name].driver, DESTROY)
        elif name in left:
            acts[name] = (left[name].former["driver"], RESTORE)  # type: ignore[index]
    needs = backwards({name: tuple(one for one in steps[name].needs if one in acts) for name in acts})
    return [
        {
            "run_id": request.run_id,
            "name": UNDO + name,
            "position": len(steps) + number,
            "driver": acts[name][0],
            "act": acts[name][1],
            "needs": [UNDO + one for one in wanted],
            "state": "waiting" if wanted else "ready",
        }
        for number, (name, wanted) in enumerate(needs.items())
    ]


def begun(stop: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """Why the run stopped, with the time at which undoing begins."""
    return {**stop, "undoing_since": at.isoformat()}


def further(
    connection: Connection, request: Request, verdict: Verdict, steps: dict[str, StepState], at: datetime
) -> Generator[Outcome, None, bool]:
    """A step that undoes another one has ended; return whether the run has, too.

    What stands below one that could not be undone stays as well.
    """
    yield _told(request, verdict.step, verdict.state, verdict.message)
    if not request.stopping:
        for name in ready({key: one for key, one in steps.items() if key.startswith(UNDO)}):
            store.change_step(connection, verdict.run_id, name, "waiting", state="ready")
            steps[name] = replace(steps[name], state="ready")
    return (yield from _settle(connection, request, steps, at))


def halt(connection: Connection, request: Request, reason: str, at: datetime) -> Generator[Outcome, None, bool]:
    """Somebody wants undoing to stop; return whether the run has ended by that.

    Who asked before it began wanted the run to stop, as it has: undoing goes on.
    """
    stop = request.stop or {}
    since = stop.get("undoing_since")
    if "halted" in stop or (since is not None and at <= datetime.fromisoformat(since)):
        return False
    request = request.but(stop={**stop, "halted": reason})
    store.change_request(connection, request.id, stop=request.stop, cause=request.cause)
    steps = store.steps_of(connection, request.run_id or "")
    told = []
    for name, one in steps.items():
        if one.state in WAITING:
            steps[name] = dropped = yield from waits.drop(connection, request, one)
            if dropped.state == "dropped":
                told.append(_told(request, name, dropped.state, None))
    yield from because(told, request.cause)
    return (yield from _settle(connection, request, steps, at))


def _told(request: Request, step: str, state: str, message: str | None) -> Outcome:
    name = step.removeprefix(UNDO)
    if state in DONE:
        return about(request, CompensationSucceeded, step=name, message=message)
    halted = (request.stop or {}).get("halted")
    reason = f"undoing was stopped: {halted}" if state == "dropped" and halted else message or state
    return about(request, CompensationFailed, step=name, reason=reason)


def _settle(
    connection: Connection, request: Request, steps: Mapping[str, StepState], at: datetime
) -> Generator[Outcome, None, bool]:
    """End the run if nothing of it is left to do; return whether it has ended."""
    if any(one.state in ("ready", *WAITING) for one in steps.values()):
        return False
    stop, done = request.stop or {}, undone(steps)
    reason = f"{stop['reason']}; undoing was stopped: {stop['halted']}" if "halted" in stop else stop["reason"]
    if stop["outcome"] == CANCELLED:
        outcomes = endings.cancel(connection, request, reason, request.applied, at, done)
    else:
        outcomes = endings.fail(connection, request, reason, stop["step"], at, done)
    yield from because(outcomes, request.cause)
    return True


def undone(steps: Mapping[str, StepState]) -> list[str]:
    """Names of the steps that were undone."""
    return [
        name.removeprefix(UNDO) for name, one in steps.items() if name.startswith(UNDO) and one.state == "succeeded"
    ]
