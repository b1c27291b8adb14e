"""Facts about requests and their runs. A fact about a request that is not known is only kept in history."""

from collections.abc import Mapping
from typing import Any

from entresol_contracts import Payload
from entresol_contracts import events as facts
from entresol_eventing.reactions import Emit

from entresol_catalog.domain.holds import Glass, Hold, Override
from entresol_catalog.domain.requests import Outcome, Request
from entresol_catalog.domain.runs import Need, Requirement, Snapshot
from entresol_catalog.domain.steps import Compensation, Suspension
from entresol_catalog.handlers import approvals
from entresol_catalog.handlers.board import Board, Fact


def submit(board: Board, fact: Fact) -> None:
    data: facts.RequestSubmitted = fact.event.data
    if board.requests.get(data.request_id) is not None:
        return
    request = Request(
        id=data.request_id,
        resource=data.resource_id,
        project=data.project,
        environment=data.environment,
        offering=data.offering,
        offering_version=data.offering_version,
        action=data.action,
        name=data.name,
        inputs=data.inputs,
        actor=data.actor.id,
        dry_run=data.dry_run,
        reason=data.reason,
        trigger=data.trigger,
        break_glass=data.break_glass,
        class_=data.class_,
        orphan=data.orphan,
        snapshot=None if data.snapshot is None else Snapshot(data.snapshot.revision, data.snapshot.request_id),
        requirement=_requirement(data.requirement),
        correlationid=fact.event.correlationid,
        submitted_at=fact.at,
        updated_at=fact.at,
        since=fact.at,
    )
    board.requests.add((request.id,), request, fact.position)


def reject(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalRejected = fact.event.data
    if data.review:
        return approvals.settle(board, request, fact)
    because = [one.reason or f"rejected by {one.by}" for one in data.answers if one.answer == "rejected"]
    return _complete(board, request, fact, request.reject(data.approval_id, because, fact.at))


def expire(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalExpired = fact.event.data
    ended = request.expire(data.approval_id, data.policy, fact.at)
    return _complete(board, request, fact, ended)


def await_plan(_: Board, request: Request, fact: Fact) -> bool:
    return request.await_plan(fact.at)


def hold(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequestHeld = fact.event.data
    return request.hold([Hold(one.kind, one.name, one.because, one.by, one.until) for one in data.holds], fact.at)


def override(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.HoldOverridden = fact.event.data
    return request.override(Override(data.by, data.reason, fact.at, fact.event.id))


def rule_on_override(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.OverrideCounted | facts.OverrideRefused = fact.event.data
    refused = data.reason if isinstance(data, facts.OverrideRefused) else None
    return request.rule_on_override(fact.event.causationid or fact.event.id, refused)


def break_the_glass(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.GlassBroken = fact.event.data
    glass = Glass(
        reason=data.reason,
        by=data.actor,
        at=fact.at,
        bypassed=data.bypassed,
        review_id=data.review_id,
        reviewers=data.reviewers,
        review_by=data.review_by,
        policy=data.policy,
    )
    return request.break_the_glass(glass)


def allow(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequestAllowed = fact.event.data
    return request.allow(data.plan_digest, fact.at)


def deny(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequestDenied = fact.event.data
    return _complete(board, request, fact, request.deny(data.because, fact.at))


def cancel(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequestCancelled = fact.event.data
    return request.cancel(data.by, data.reason, fact.at)


_PLAN = {"digest", "adds", "changes", "destroys", "steps", "cost", "unknown", "replaces"}
"""What a request shows of its plan; the list of everything that it touches is in the fact."""


def show(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunPlanned = fact.event.data
    plan = data.model_dump(include=_PLAN, exclude_none=True)
    return request.show(plan, fact.at)


def start(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunStarted = fact.event.data
    return request.advance(lambda run: run.begin(data.run_id, data.steps, data.running), fact.at)


def progress(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunProgressed = fact.event.data
    return request.advance(
        lambda run: run.progress(data.step, data.state, data.attempt, data.message, data.running), fact.at
    )


def suspend(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunSuspended = fact.event.data
    waits = Suspension(data.step, data.reason, fact.at, data.until, data.resumable, data.requires)
    return request.advance(lambda run: run.suspend(data.run_id, waits), fact.at)


def resume(_: Board, request: Request, fact: Fact) -> bool:
    """What the step is told is for the step alone; whether it heeds that is seen by its next fact."""
    data: facts.ResumeRequested = fact.event.data
    return request.advance(lambda run: run.resume(data.step, data.by, fact.at), fact.at)


def require(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequirementRequested = fact.event.data
    need = Need(data.name, data.action, data.wanted.resource_id, data.for_request_id)
    return request.advance(lambda run: run.require(need), fact.at)


def refuse_need(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequirementRefused = fact.event.data
    return request.settle(data.for_request_id, "refused", data.reason, fact.at)


def compensate(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.CompensationSucceeded | facts.CompensationFailed = fact.event.data
    if isinstance(data, facts.CompensationSucceeded):
        undone = Compensation("succeeded", data.message, fact.at)
    else:
        undone = Compensation("failed", data.reason, fact.at)
    return request.advance(lambda run: run.compensate(data.step, undone), fact.at)


def succeed(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunSucceeded = fact.event.data
    return _complete(board, request, fact, request.succeed(data.outputs, fact.at))


def fail(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunFailed = fact.event.data
    return _complete(
        board, request, fact, request.fail(data.reason, data.step, fact.at, data.left or (), data.compensated or ())
    )


def stop(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunCancelled = fact.event.data
    return _complete(
        board, request, fact, request.stop(data.reason, fact.at, data.steps_done or (), data.compensated or ())
    )


def stall(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequestStalled = fact.event.data
    return request.stall(data.state, data.since)


FOLDS: Mapping[type[Payload], approvals.Fold] = {
    **approvals.FOLDS,
    facts.ApprovalRejected: reject,
    facts.ApprovalExpired: expire,
    facts.PlanRequested: await_plan,
    facts.RequestHeld: hold,
    facts.HoldOverridden: override,
    facts.OverrideCounted: rule_on_override,
    facts.OverrideRefused: rule_on_override,
    facts.GlassBroken: break_the_glass,
    facts.RequestAllowed: allow,
    facts.RequestDenied: deny,
    facts.RequestCancelled: cancel,
    facts.RequestStalled: stall,
    facts.RunPlanned: show,
    facts.RunStarted: start,
    facts.RunProgressed: progress,
    facts.RunSuspended: suspend,
    facts.ResumeRequested: resume,
    facts.RequirementRequested: require,
    facts.RequirementRefused: refuse_need,
    facts.CompensationSucceeded: compensate,
    facts.CompensationFailed: compensate,
    facts.RunSucceeded: succeed,
    facts.RunFailed: fail,
    facts.RunCancelled: stop,
}


def follow(board: Board, fact: Fact, fold: approvals.Fold) -> None:
    """Apply a fact to the request that it is about."""
    request = board.requests.get(fact.event.data.request_id)
    if request is not None and fold(board, request, fact):
        board.requests.keep(request.id)


def _complete(board: Board, request: Request, fact: Fact, ended: bool) -> bool:
    """Say that the request has ended, if this is the fact that ended it."""
    if ended:
        outcome: Outcome = request.state  # type: ignore[assignment]
        completed = facts.RequestCompleted(
            request_id=request.id,
            resource_id=request.resource,
            project=request.project,
            offering=request.offering,
            action=request.action,
            environment=request.environment,
            name=request.name,
            actor=request.actor,
            outcome=outcome,
            because=request.because or None,
            submitted_at=request.submitted_at,
            duration_ms=request.duration_ms or 0,
            waits=dict(request.waits),
        )
        board.said.append(Emit(completed, subject=request.id, partitionkey=request.resource, cause=fact.event.cause))
        _settle_need(board, request, fact, outcome)
    return ended


def _settle_need(board: Board, request: Request, fact: Fact, outcome: Outcome) -> None:
    """Whoever needs what the request was made for does not wait for it any more. Another project is not told why."""
    waiting = None if request.requirement is None else board.requests.get(request.requirement.request_id)
    if waiting is not None:
        because = "; ".join(request.because) or None if request.project == waiting.project else None
        if waiting.settle(request.id, outcome, because, fact.at):
            board.requests.keep(waiting.id)


def _requirement(given: facts.Requirement | None) -> Requirement | None:
    return None if given is None else Requirement(given.request_id, given.resource_id, given.name)


def named(payload: Any) -> str | None:
    """The request that a payload names, if it names one."""
    request_id = getattr(payload, "request_id", None)
    return request_id if isinstance(request_id, str) else None
