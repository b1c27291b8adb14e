"""Steps that wait: to be tried again, for what they have begun, or for a person.

Everything here happens in a transaction. What waits is a row in one of the states WAITING, with a deadline that makes
it ready again; nothing holds it in memory.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from entresol_contracts.events import Actor, RequirementRequested, RunSuspended, Wanted
from entresol_eventing.reactions import Cancel, Deadline, Due, Outcome
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import claims, store
from entresol_provisioning.domain.graph import StepState
from entresol_provisioning.domain.offering import LONGEST_WAIT_SECONDS, REQUIRES, RESOURCE
from entresol_provisioning.domain.requests import AGAIN, OPEN, RUNNING, Request
from entresol_provisioning.endings import about
from entresol_provisioning.verdicts import Verdict, Wait

RETRY: Final = "step-retry"
"""A wait: never longer than the service lets one be, so that a clock that jumps back does not stretch it."""
GIVE_UP: Final = "step-give-up"
"""A date: when what waits for a person is over."""
WAITING: Final = ("retrying", "suspended")
"""States of a step that goes on by itself, or when somebody lets it."""


def wake(due: Due, session: Session) -> Iterator[Outcome]:
    """A step's wait is over: it may be tried again, unless its run was stopped meanwhile."""
    connection = session.connection()
    request = store.find_run(connection, due.args["run_id"])
    if request is not None and request.state == RUNNING and not request.stopping:
        for was in WAITING:
            store.change_step(connection, due.args["run_id"], due.args["step"], was, state="ready")
    yield from ()


def resume(connection: Connection, request: Request, step: str | None, answer: dict[str, Any]) -> Iterator[Outcome]:
    """Somebody lets what is suspended go on; what waits for no person only looks at once."""
    if request.state != RUNNING or request.stopping or request.run_id is None:
        return
    for name, one in store.steps_of(connection, request.run_id).items():
        if one.state != "suspended" or step not in (None, name):
            continue
        memory = dict(one.memory or {}) | ({"answer": answer} if (one.memory or {}).get("resumable") else {})
        store.change_step(connection, request.run_id, name, "suspended", state="ready", memory=memory)
        yield Cancel(f"{RETRY}:{request.run_id}:{name}")


def drop(connection: Connection, request: Request, one: StepState) -> Generator[Outcome, None, StepState]:
    """Give up a step that waits; what it has begun is withdrawn first where that has to be. Return it as it is then."""
    memory = one.memory or {}
    values: dict[str, Any] = {"state": "dropped"}
    if memory.get("withdraws"):
        values = {"state": "ready", "memory": {**memory, "given_up": {"state": "dropped"}}}
    store.change_step(connection, request.run_id or "", one.name, one.state, **values)
    yield Cancel(f"{RETRY}:{request.run_id}:{one.name}")
    return replace(one, **values)


def withdrawing(verdict: Verdict) -> dict[str, Any] | None:
    """What is recorded of a step that is given up, if what it has begun has to be withdrawn first."""
    if not verdict.begun or verdict.state not in ("failed", "dropped"):
        return None
    given_up = {"state": verdict.state} | ({"reason": verdict.message} if verdict.state == "failed" else {})
    return {"state": "ready", "attempt": verdict.attempt + 1, "memory": {**verdict.begun, "given_up": given_up}}


def given_up(request: Request, verdict: Verdict) -> Literal["dropped", "failed"]:
    """What becomes of a step that would be tried again, or looked at again, in a run that was stopped."""
    stops_again = request.stop is not None and request.stop["outcome"] == AGAIN
    return "dropped" if stops_again or verdict.state == "suspended" else "failed"


def begin(
    request: Request, verdict: Verdict, wait: Wait, before: Mapping[str, Any] | None, at: datetime
) -> Iterator[Outcome]:
    """Look again when it is time; say that it waits once, and again only if it waits for something else."""
    key = f"{RETRY}:{verdict.run_id}:{verdict.step}"
    args = {"run_id": verdict.run_id, "step": verdict.step}
    yield Deadline(key, GIVE_UP, wait.until, args) if wait.look_at is None else Deadline(key, RETRY, wait.look_at, args)
    asked = wait.memory.get("request_id") if (verdict.undo or {}).get("driver") == RESOURCE else None
    if asked is not None and "wanted" in wait.memory:
        yield about(
            request,
            RequirementRequested,
            name=verdict.step.removeprefix(claims.UNDO).removeprefix(REQUIRES),
            action=wait.memory["action"],
            wanted=Wanted.model_validate(wait.memory["wanted"]),
            for_request_id=asked,
            actor=Actor(**request.actor),
        )
    if before is None or before.get("reason") != wait.reason:
        yield about(
            request,
            RunSuspended,
            step=verdict.step,
            reason=wait.reason,
            until=wait.until,
            resumable=wait.resumable,
            requires=asked,
        )


def looked_in_time(connection: Connection, request: Request, verdict: Verdict, at: datetime) -> Verdict:
    """The verdict; or, if others have changed meanwhile what it says of another resource, that it looks again.

    Of those that give up a shared resource at once each sees that others need it still; the last one deletes it.
    """
    other = (verdict.undo or {}).get("needs_resource")
    if other is None or verdict.state != "succeeded" or verdict.kept is not None or request.plans:
        return verdict
    found = store.find_resource(connection, other)
    there = found is not None and found.exists and not store.open_delete(connection, other)
    if verdict.act == claims.DESTROY:
        needed = any(one != request.resource_id for one in store.dependents(connection, other))
        changed = there and not needed and found is not None and found.requirement is not None
    else:
        changed = verdict.act == claims.APPLY and not there
    if not changed:
        return verdict
    reason = f"{other} is looked at once more"
    wait = Wait(reason, look_at=at, until=at + timedelta(seconds=LONGEST_WAIT_SECONDS))
    return replace(verdict, state="suspended", message=reason, outputs={}, wait=wait)


def needless(connection: Connection, request: Request, step: StepState) -> Request | None:
    """The open request for another resource that the step waits for, if nobody else needs what it makes."""
    asked = (step.memory or {}).get("memory", {}).get("request_id") if step.driver == RESOURCE else None
    other = None if asked is None else store.find_request(connection, asked)
    if other is None or other.state not in OPEN or other.action != "create":
        return None
    needed = [one for one in store.dependents(connection, other.resource_id) if one != request.resource_id]
    return None if needed else other.but(cause=request.cause)
