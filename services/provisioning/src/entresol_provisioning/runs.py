"""Runs, from the moment a request may begin to its one terminal fact. Everything here happens in a transaction.

- Work on one resource is serial, planning too: the next request begins in the transaction that ends the one before.
- A step that is `ready` is about to be tried or being tried; nothing else of a run touches the world.
- Once `stop` is set no further step begins, and the run ends when the last one that runs has ended. If the offering
  asks for it, what was done is undone before that.
- A plan that was approved is made again, and applied in the same turn only if it is still that plan. What was allowed
  without a plan begins only with the inputs that were judged; else it is planned, and decided anew.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from entresol_contracts.events import RunStarted
from entresol_eventing.envelope import new_id
from entresol_eventing.reactions import Deadline, Outcome
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import beginnings, compensating, effects, endings, plans, progress, store, waits
from entresol_provisioning.domain.graph import DONE, Impossible, StepState, finished, ready
from entresol_provisioning.domain.requests import (
    AGAIN,
    APPLY,
    CANCELLED,
    FAILED,
    PLAN,
    PLANNED,
    QUEUED,
    REFUSED,
    RUNNING,
    SUBMITTED,
    UNDO,
    Request,
    ends_cancelled,
)
from entresol_provisioning.endings import about, because
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.verdicts import Verdict, reason_to_stop
from entresol_provisioning.waits import RETRY, WAITING


class Runs:
    """Begins runs and takes them on. `capabilities` are the drivers that are installed, and whether each can work."""

    def __init__(self, offerings: Offerings, capabilities: Mapping[str, bool]) -> None:
        self._offerings = offerings
        self._capabilities = capabilities

    def plan(self, connection: Connection, request: Request, at: datetime) -> Iterator[Outcome]:
        """Policy wants to see what the request would do, before it decides."""
        if request.state in (SUBMITTED, PLANNED):
            yield from self._admit(connection, request.but(phase=PLAN, approved=None), at)

    def allow(self, connection: Connection, request: Request, digest: str | None, at: datetime) -> Iterator[Outcome]:
        """Policy lets the request do what the plan of that digest says; without one, whatever is needed.

        `request.judged` is what it says of the inputs.
        """
        phase = APPLY if digest is None else PLAN
        allowed = {"approved": digest, "judged": request.judged, "cause": request.cause}
        if request.state in (SUBMITTED, PLANNED):
            yield from self._admit(connection, request.but(phase=phase, approved=digest), at)
        elif request.phase == PLAN and request.state == QUEUED:
            store.change_request(connection, request.id, phase=phase, **allowed)
        elif request.phase == PLAN and request.state == RUNNING and request.stop is None:
            request = request.but(approved=digest)
            store.change_request(connection, request.id, **allowed)
            if digest is None:  # nobody waits for the plan any more
                yield from self._interrupt(connection, request, {"outcome": AGAIN, "phase": APPLY}, at)

    def refuse(self, connection: Connection, request: Request, reason: str, at: datetime) -> Iterator[Outcome]:
        """Policy has ended the request and said so. What is being planned ends too, without a word."""
        if request.state in (SUBMITTED, PLANNED, QUEUED):
            store.forget_waiting(connection, request.id)
            endings.refuse(connection, request, reason, at)
        elif request.state == RUNNING and request.phase == PLAN:
            yield from self._interrupt(connection, request, {"outcome": REFUSED, "reason": reason}, at)

    def cancel(self, connection: Connection, request: Request, reason: str, at: datetime) -> Iterator[Outcome]:
        """Stop an open request, or the undoing of it: at once if nothing of it runs, else when what runs has ended."""
        if request.state != RUNNING:
            store.forget_waiting(connection, request.id)
            yield from endings.cancel(connection, request.but(run_id=new_id()), reason, request.applied, at)
        elif request.phase == UNDO:
            if (yield from compensating.halt(connection, request, reason, at)):
                yield from self._go_on(connection, request.resource_id, at)
        elif request.stop is None or request.stop["outcome"] == AGAIN:
            yield from self._interrupt(connection, request, {"outcome": CANCELLED, "reason": reason}, at)

    def record(self, session: Session, verdict: Verdict, at: datetime) -> Generator[Outcome, None, None]:
        """Write down how an attempt ended, and what follows from it. A second verdict on one attempt is ignored."""
        connection = session.connection()
        request = store.find_run(connection, verdict.run_id)
        if request is None or request.state != RUNNING:
            return
        verdict = waits.looked_in_time(connection, request, verdict, at)
        if verdict.state in WAITING and request.stopping:
            begun = verdict.begun if verdict.wait is None else verdict.wait.to_withdraw()
            verdict = replace(verdict, state=waits.given_up(request, verdict), wait=None, begun=begun)
        before: dict[str, Any] | None = None
        values: dict[str, Any] = {"state": verdict.state}
        if (withdrawing := waits.withdrawing(verdict)) is not None:
            values = withdrawing
        elif verdict.state == "retrying":
            values["attempt"] = verdict.attempt + 1
        elif verdict.wait is not None:
            before = store.steps_of(connection, verdict.run_id)[verdict.step].memory
            values["memory"] = verdict.wait.as_json()
        elif verdict.state in DONE:
            values |= {"outputs": verdict.outputs, "plan": verdict.plan, "memory": progress.noted(verdict)}
        if not store.change_step(connection, verdict.run_id, verdict.step, "ready", tried=verdict.attempt, **values):
            return
        effects.remember(connection, request, verdict)
        if withdrawing is not None:
            return
        if verdict.wait is not None:
            yield from because(waits.begin(request, verdict, verdict.wait, before, at), request.cause)
        else:
            yield from because(self._advance(connection, request, verdict, at), request.cause)

    def _admit(self, connection: Connection, request: Request, at: datetime) -> Iterator[Outcome]:
        """Begin the next pass, or wait for what plans or applies before it on the same resource.

        An extension that waited could come after the end that it is to put off.
        """
        in_turn = request.action != "extend" or store.is_being_deleted(connection, request.resource_id)
        if in_turn and store.is_busy(connection, request.resource_id):
            values = {name: getattr(request, name) for name in ("phase", "approved", "judged", "cause")}
            store.change_request(connection, request.id, state=QUEUED, **values)
            store.line_up(connection, request.id, request.resource_id)
            return
        yield from self._start(connection, request, {}, at)

    def _start(
        self, connection: Connection, request: Request, held: Mapping[str, str | None], at: datetime
    ) -> Generator[Outcome, None, bool]:
        """Begin a pass whose steps are held to that; return whether it has anything to wait for."""
        request = beginnings.number(request, at)
        try:
            offering = self._offerings.get(connection, request.offering_digest)
            request, needs = beginnings.begin(connection, request, offering, self._capabilities, held, at)
        except Impossible as error:
            yield from because(endings.fail(connection, request, str(error), None, at), request.cause)
            return False
        if request.phase == APPLY:
            started = about(
                request,
                RunStarted,
                offering=request.offering,
                offering_version=request.offering_version,
                action=request.action,
                steps=list(needs),
                running=[name for name in needs if not needs[name]],
                plan_digest=request.approved,
            )
            yield from because((started,), request.cause)
        if needs:
            return True
        return (yield from self._finish(connection, request, {}, at))

    def _advance(self, connection: Connection, request: Request, verdict: Verdict, at: datetime) -> Iterator[Outcome]:
        steps = (
            {verdict.step: progress.only(verdict)} if request.steps == 1 else store.steps_of(connection, verdict.run_id)
        )
        if verdict.state == "retrying":
            yield from progress.tell(request, verdict, steps)
            due_at = at + timedelta(seconds=verdict.retry_after_seconds)
            args = {"run_id": verdict.run_id, "step": verdict.step}
            yield Deadline(f"{RETRY}:{verdict.run_id}:{verdict.step}", RETRY, due_at, args)
            return
        if request.phase == UNDO:
            if (yield from compensating.further(connection, request, verdict, steps, at)):
                yield from self._go_on(connection, request.resource_id, at)
            return
        stop = reason_to_stop(request.stop, verdict)
        if stop is not None and stop is not request.stop:
            yield from self._stop(connection, request, stop, steps, at)
            return
        if verdict.state in DONE:
            if request.stop is None:
                for name in ready(steps):
                    store.change_step(connection, verdict.run_id, name, "waiting", state="ready")
                    steps[name] = replace(steps[name], state="ready")
            yield from progress.tell(request, verdict, steps)
        yield from self._settle(connection, request, steps, at)

    def _interrupt(
        self, connection: Connection, request: Request, stop: dict[str, Any], at: datetime
    ) -> Iterator[Outcome]:
        steps = store.steps_of(connection, request.run_id or "")
        yield from because(self._stop(connection, request, stop, steps, at), request.cause)

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
            if one.state in WAITING:
                steps[name] = yield from waits.drop(connection, request, one)
                other = None if stop["outcome"] == AGAIN else waits.needless(connection, request, one)
                if other is not None:
                    yield from self.cancel(connection, other, f"{request.resource_id} needs it no more", at)
        yield from self._settle(connection, request.but(stop=stop), steps, at)

    def _settle(
        self, connection: Connection, request: Request, steps: Mapping[str, StepState], at: datetime
    ) -> Iterator[Outcome]:
        """End the run if nothing of it is left to do, and begin the next on the resource."""
        stop = request.stop
        happened = request.phase == APPLY and not ends_cancelled(request.action, everything_done=True)
        if finished(steps.values()) and (stop is None or happened):
            goes_on = yield from self._finish(connection, request, steps, at)
        elif stop is not None and not any(one.state == "ready" for one in steps.values()):
            goes_on = yield from self._break_off(connection, request, stop, steps, at)
        else:
            return
        if not goes_on:
            yield from self._go_on(connection, request.resource_id, at)

    def _finish(
        self, connection: Connection, request: Request, steps: Mapping[str, StepState], at: datetime
    ) -> Generator[Outcome, None, bool]:
        """Every step is done; return whether the request occupies the resource further on."""
        offering = self._offerings.get(connection, request.offering_digest)
        whole = (connection, request, offering, steps, self._capabilities, at)
        if request.phase == APPLY:
            yield from because(endings.succeed(*whole), request.cause)
            return False
        store.forget_steps(connection, request.run_id or "")  # they may be large, and what counts of them is told now
        try:
            told = plans.tell(*whole)
            if request.approved == told["digest"]:
                if not request.dry_run:
                    applying = request.but(phase=APPLY)
                    return (yield from self._start(connection, applying, plans.held_to(steps), at))
                outcomes = endings.verify(connection, request, at)
            else:
                current = request if request.approved is None else request.found_outdated()
                outcomes = endings.show(connection, current, told)
        except Impossible as error:
            outcomes = endings.fail(connection, request, str(error), None, at)
        yield from because(outcomes, request.cause)
        return False

    def _break_off(
        self,
        connection: Connection,
        request: Request,
        stop: Mapping[str, Any],
        steps: Mapping[str, StepState],
        at: datetime,
    ) -> Generator[Outcome, None, bool]:
        """The run was told to stop, and nothing runs any more; return whether the request begins again at once."""
        done = [] if request.plans else [name for name, one in steps.items() if one.state == "succeeded"]
        applied = [*request.applied, *(name for name in done if name not in request.applied)]
        if request.phase == APPLY and not request.dry_run and stop["outcome"] in (CANCELLED, FAILED):
            offering = self._offerings.get(connection, request.offering_digest)
            if rows := compensating.rows(connection, request, offering, steps):
                store.add_steps(connection, rows)
                stop = compensating.begun(stop, at)
                values = {"phase": UNDO, "steps": len(steps) + len(rows), "stop": stop, "applied": applied}
                store.change_request(connection, request.id, **values)
                return True
        if request.action == "adopt" and request.phase == APPLY:
            effects.disown(connection, request)
        outcomes: Iterator[Outcome] = iter(())
        if stop["outcome"] == CANCELLED:
            outcomes = endings.cancel(connection, request, stop["reason"], applied, at)
        elif stop["outcome"] == FAILED:
            outcomes = endings.fail(connection, request, stop["reason"], stop["step"], at)
        elif stop["outcome"] == REFUSED:
            endings.refuse(connection, request, stop.get("reason", ""), at)
        else:
            again = request.but(phase=stop["phase"], applied=applied)
            try:
                again = again.found_outdated() if again.phase == PLAN else again
                return (yield from self._start(connection, again, {}, at))
            except Impossible as error:
                outcomes = endings.fail(connection, again, str(error), None, at)
        yield from because(outcomes, request.cause)
        return False

    def _go_on(self, connection: Connection, resource_id: str, at: datetime) -> Iterator[Outcome]:
        while (request_id := store.first_waiting(connection, resource_id)) is not None:
            store.forget_waiting(connection, request_id)
            request = store.find_request(connection, request_id)
            if request is None or request.state != QUEUED:
                continue
            if (yield from self._start(connection, request, {}, at)):
                return
