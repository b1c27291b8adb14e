"""Runs, from the moment a request may begin to its one terminal fact. Everything here happens in a transaction.

- Work on one resource is serial: the next request begins in the transaction that ends the one before.
- A step that is `ready` is about to be tried or being tried; nothing else of a run touches the world.
- Once `stop` is set no further step begins, and the run ends when the last one that runs has ended.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from entresol_contracts.events import RunProgressed, RunStarted
from entresol_eventing.envelope import Cause, new_id
from entresol_eventing.reactions import Cancel, Deadline, Due, Outcome
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import endings, store
from entresol_provisioning.domain.graph import DONE, Impossible, StepState, backwards, finished, in_order, ready
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import (
    CANCELLED,
    FAILED,
    QUEUED,
    RUNNING,
    Request,
    Resource,
    admit,
    effective_inputs,
    ends_cancelled,
)
from entresol_provisioning.endings import about, because
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.verdicts import Verdict

RETRY = "step-retry"


class Runs:
    """Begins runs and takes them on. `capabilities` are the drivers that are installed, and whether each can work."""

    def __init__(self, offerings: Offerings, capabilities: Mapping[str, bool]) -> None:
        self._offerings = offerings
        self._capabilities = capabilities

    def admit(self, connection: Connection, request: Request, cause: Cause, at: datetime) -> Iterator[Outcome]:
        """An allowed request begins, or waits for the run before it on the same resource."""
        remembered = cause.model_dump(mode="json", exclude_none=True)
        if store.is_busy(connection, request.resource_id):
            store.change_request(connection, request.id, state=QUEUED, cause=remembered)
            store.line_up(connection, request.id, request.resource_id)
            return
        yield from self._start(connection, request.but(cause=remembered), at)

    def cancel(self, connection: Connection, request: Request, reason: str, at: datetime) -> Iterator[Outcome]:
        """Stop an open request: at once if nothing of it runs, else when what runs has ended."""
        if request.state != RUNNING:
            store.forget_waiting(connection, request.id)
            yield from endings.cancel(connection, request.but(run_id=new_id()), reason, (), at)
        elif request.stop is None:
            stop = {"outcome": CANCELLED, "reason": reason}
            yield from self._stop(connection, request, stop, store.steps_of(connection, request.run_id or ""), at)

    def retry(self, due: Due, session: Session) -> Iterator[Outcome]:
        """A step's wait is over: it may be tried again, unless its run was stopped meanwhile."""
        connection = session.connection()
        request = store.find_run(connection, due.args["run_id"])
        if request is not None and request.state == RUNNING and request.stop is None:
            store.change_step(connection, due.args["run_id"], due.args["step"], "retrying", state="ready")
        yield from ()

    def record(self, session: Session, verdict: Verdict, at: datetime) -> Generator[Outcome, None, None]:
        """Write down how an attempt ended, and what follows from it. A second verdict on one attempt is ignored."""
        connection = session.connection()
        request = store.find_run(connection, verdict.run_id)
        if request is None or request.state != RUNNING:
            return
        if verdict.state == "retrying" and request.stop is not None:
            verdict = replace(verdict, state="failed")
        values: dict[str, Any] = {"state": verdict.state}
        if verdict.state == "retrying":
            values["attempt"] = verdict.attempt + 1
        elif verdict.state in DONE:
            values |= {"outputs": verdict.outputs, "plan": verdict.plan}
        if not store.change_step(connection, verdict.run_id, verdict.step, "ready", tried=verdict.attempt, **values):
            return
        _remember_effect(connection, request, verdict)
        yield from because(self._advance(connection, request, verdict, at), request.cause)

    def _start(self, connection: Connection, request: Request, at: datetime) -> Generator[Outcome, None, bool]:
        """Begin the run; return whether it has anything to wait for."""
        request = request.but(run_id=new_id(), started_at=at, state=RUNNING)
        resource = store.find_resource(connection, request.resource_id)
        there = resource if resource is not None and resource.exists else None
        offering = None
        try:
            offering = self._offerings.get(connection, request.offering_digest)
            named = f"{request.offering} {request.offering_version}"
            admit(request.action, request.resource_id, offering, named, exists=there is not None)
            destroys, drivers, needs = self._steps(connection, request, offering, there)
            order = in_order(needs)
        except Impossible as error:
            yield from because(endings.fail(connection, request, str(error), None, at), request.cause)
            return False
        effective = effective_inputs(request.action, request.inputs, there.inputs if there else None)
        request = request.but(destroys=destroys, steps=len(needs), effective=effective)
        store.change_request(
            connection,
            request.id,
            state=RUNNING,
            cause=request.cause,
            run_id=request.run_id,
            started_at=at,
            destroys=destroys,
            steps=len(needs),
            effective=effective,
        )
        if needs:
            rows = [
                {
                    "run_id": request.run_id,
                    "name": name,
                    "position": position,
                    "driver": drivers[name],
                    "needs": list(needs[name]),
                    "state": "waiting" if needs[name] else "ready",
                    "attempt": 1,
                }
                for position, name in enumerate(order)
            ]
            store.add_steps(connection, rows)
        started = about(
            request,
            RunStarted,
            offering=request.offering,
            offering_version=request.offering_version,
            action=request.action,
            steps=order,
            running=[name for name in order if not needs[name]],
        )
        yield from because((started,), request.cause)
        if not needs:
            yield from because(self._succeed(connection, request, offering, {}, at), request.cause)
        return bool(needs)

    def _steps(
        self, connection: Connection, request: Request, offering: Offering | None, resource: Resource | None
    ) -> tuple[bool, dict[str, str], dict[str, tuple[str, ...]]]:
        """Whether the run takes down, and its drivers and needs by step. Raises Impossible."""
        if request.action == "extend":
            return False, {}, {}
        steps = offering.steps(request.action) if offering is not None else None
        if request.action == "delete" and (steps is None or resource is None):
            left = store.footprints_of(connection, request.resource_id)
            names = {one.step for one in left}
            needs = backwards({one.step: tuple(name for name in one.needs if name in names) for one in left})
            drivers = {one.step: one.driver for one in left}
        else:
            needs = {one.name: one.needs for one in steps or ()}
            drivers = {one.name: one.driver for one in steps or ()}
        for name, driver in drivers.items():
            if driver not in self._capabilities:
                raise Impossible(f"step {name} needs the driver {driver}, which is not installed here")
        return request.action == "delete" and (steps is None or resource is None), drivers, needs

    def _advance(self, connection: Connection, request: Request, verdict: Verdict, at: datetime) -> Iterator[Outcome]:
        if request.steps == 1:
            steps = {verdict.step: StepState(verdict.step, (), verdict.state, verdict.outputs, verdict.plan)}
        else:
            steps = store.steps_of(connection, verdict.run_id)
        if verdict.state == "retrying":
            yield _progressed(request, verdict, steps)
            due_at = at + timedelta(seconds=verdict.retry_after_seconds)
            args = {"run_id": verdict.run_id, "step": verdict.step}
            yield Deadline(f"{RETRY}:{verdict.run_id}:{verdict.step}", RETRY, due_at, args)
            return
        if verdict.state == "failed":
            reason = verdict.message or "no reason was given"
            stop = {"outcome": FAILED, "reason": reason, "step": verdict.step}
            if request.stop is not None:
                stop = {**request.stop, "reason": f"{request.stop['reason']}; step {verdict.step} failed: {reason}"}
            yield from self._stop(connection, request, stop, steps, at)
            return
        if verdict.state in DONE:
            if request.stop is None:
                for name in ready(steps):
                    store.change_step(connection, verdict.run_id, name, "waiting", state="ready")
                    steps[name] = replace(steps[name], state="ready")
            yield _progressed(request, verdict, steps)
        yield from self._settle(connection, request, steps, at)

    def _stop(
        self,
        connection: Connection,
        request: Request,
        stop: dict[str, Any],
        steps: dict[str, StepState],
        at: datetime,
    ) -> Iterator[Outcome]:
        """Let no further step begin; steps that wait for a retry are given up."""
        store.change_request(connection, request.id, stop=stop, cause=request.cause)
        for name, one in steps.items():
            if one.state == "retrying":
                store.change_step(connection, request.run_id or "", name, "retrying", state="dropped")
                steps[name] = replace(one, state="dropped")
                yield Cancel(f"{RETRY}:{request.run_id}:{name}")
        yield from self._settle(connection, request.but(stop=stop), steps, at)

    def _settle(
        self, connection: Connection, request: Request, steps: Mapping[str, StepState], at: datetime
    ) -> Iterator[Outcome]:
        """End the run if nothing of it is left to do, and begin the next on the resource."""
        stop = request.stop
        done = finished(steps.values())
        if done and (stop is None or not ends_cancelled(request.action, everything_done=True)):
            offering = self._offerings.get(connection, request.offering_digest)
            yield from self._succeed(connection, request, offering, steps, at)
        elif stop is not None and not any(one.state == "ready" for one in steps.values()):
            if stop["outcome"] == CANCELLED:
                remaining = [name for name, one in steps.items() if one.state == "succeeded"]
                yield from endings.cancel(connection, request, stop["reason"], remaining, at)
            else:
                yield from endings.fail(connection, request, stop["reason"], stop["step"], at)
        else:
            return
        yield from self._go_on(connection, request.resource_id, at)

    def _succeed(
        self,
        connection: Connection,
        request: Request,
        offering: Offering | None,
        steps: Mapping[str, StepState],
        at: datetime,
    ) -> Iterator[Outcome]:
        return endings.succeed(connection, request, offering, steps, self._capabilities, at)

    def _go_on(self, connection: Connection, resource_id: str, at: datetime) -> Iterator[Outcome]:
        while (request_id := store.first_waiting(connection, resource_id)) is not None:
            store.forget_waiting(connection, request_id)
            request = store.find_request(connection, request_id)
            if request is not None and request.state == QUEUED and (yield from self._start(connection, request, at)):
                return


def _remember_effect(connection: Connection, request: Request, verdict: Verdict) -> None:
    """What a delete will have to undo. A failed attempt may have left something, so it counts as well."""
    if request.dry_run:
        return
    if request.destroys:
        if verdict.state == "succeeded":
            store.remove_footprint(connection, request.resource_id, verdict.step)
    elif request.action in ("create", "update") and verdict.undo is not None:
        outputs = verdict.outputs if verdict.state == "succeeded" else None
        place = (request.resource_id, verdict.step)
        store.leave_footprint(connection, *place, outputs, known=verdict.known, run_id=verdict.run_id, **verdict.undo)


def _progressed(request: Request, verdict: Verdict, steps: Mapping[str, StepState]) -> Outcome:
    return about(
        request,
        RunProgressed,
        step=verdict.step,
        state=verdict.state,
        attempt=verdict.attempt,
        message=verdict.message,
        outputs=verdict.outputs or None,
        running=[name for name, one in steps.items() if one.state == "ready"],
    )
