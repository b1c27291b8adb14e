"""Facts about requests, runs and approvals. A fact about a request that is not known is only kept in history."""

from collections.abc import Callable, Mapping
from typing import Any

from entresol_contracts import Payload
from entresol_contracts import events as facts
from entresol_eventing.reactions import Emit

from entresol_catalog.domain.approvals import Answer, Approval
from entresol_catalog.domain.requests import Outcome, Request
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
        correlationid=fact.event.correlationid,
        submitted_at=fact.at,
        updated_at=fact.at,
        since=fact.at,
    )
    board.requests.add((request.id,), request, fact.position)


def ask(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalRequested = fact.event.data
    approval = Approval(
        id=data.approval_id,
        request=data.request_id,
        resource=data.resource_id,
        project=data.project,
        policy=data.policy,
        approvers=data.approvers,
        count=data.count,
        not_self=data.not_self,
        because=data.because,
        requested_by=data.requested_by,
        requested_at=fact.at,
        expires_at=data.expires_at,
    )
    if not request.ask(approval, fact.at):
        return False
    board.approvals.add((approval.id,), approval, fact.position)
    return True


def hear(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalAnswered = fact.event.data
    return request.hear(data.approval_id, Answer(data.by, data.answer, data.reason, fact.at), fact.at)


def refuse(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.AnswerRefused = fact.event.data
    return request.refuse(data.approval_id, data.by, data.reason, fact.at)


def grant(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalGranted = fact.event.data
    return request.grant(data.approval_id, _answers(data.answers), fact.at)


def reject(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalRejected = fact.event.data
    return _complete(board, request, fact, request.reject(data.approval_id, _answers(data.answers), fact.at))


def expire(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalExpired = fact.event.data
    ended = request.expire(data.approval_id, data.policy, _answers(data.answers), fact.at)
    return _complete(board, request, fact, ended)


def allow(_: Board, request: Request, fact: Fact) -> bool:
    return request.allow(fact.at)


def deny(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequestDenied = fact.event.data
    return _complete(board, request, fact, request.deny(data.because, fact.at))


def cancel(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequestCancelled = fact.event.data
    return request.cancel(data.by, data.reason, fact.at)


def show(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunPlanned = fact.event.data
    plan = data.model_dump(include={"digest", "adds", "changes", "destroys", "steps"}, exclude_none=True)
    return request.show(plan, fact.at)


def start(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunStarted = fact.event.data
    return request.start(data.run_id, data.steps, data.running, fact.at)


def progress(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunProgressed = fact.event.data
    return request.progress(data.step, data.state, data.attempt, data.message, data.running, fact.at)


def succeed(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunSucceeded = fact.event.data
    return _complete(board, request, fact, request.succeed(data.outputs, fact.at))


def fail(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunFailed = fact.event.data
    return _complete(board, request, fact, request.fail(data.reason, data.step, fact.at))


def stop(board: Board, request: Request, fact: Fact) -> bool:
    data: facts.RunCancelled = fact.event.data
    return _complete(board, request, fact, request.stop(data.reason, fact.at))


def stall(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.RequestStalled = fact.event.data
    return request.stall(data.state, data.since)


Fold = Callable[[Board, Request, Fact], bool]

FOLDS: Mapping[type[Payload], Fold] = {
    facts.ApprovalRequested: ask,
    facts.ApprovalAnswered: hear,
    facts.AnswerRefused: refuse,
    facts.ApprovalGranted: grant,
    facts.ApprovalRejected: reject,
    facts.ApprovalExpired: expire,
    facts.RequestAllowed: allow,
    facts.RequestDenied: deny,
    facts.RequestCancelled: cancel,
    facts.RequestStalled: stall,
    facts.RunPlanned: show,
    facts.RunStarted: start,
    facts.RunProgressed: progress,
    facts.RunSucceeded: succeed,
    facts.RunFailed: fail,
    facts.RunCancelled: stop,
}


def follow(board: Board, fact: Fact, fold: Fold) -> None:
    """Apply a fact to the request that it is about."""
    request = board.requests.get(fact.event.data.request_id)
    if request is not None and fold(board, request, fact):
        board.requests.keep(request.id)


def _answers(answers: list[facts.Answer]) -> list[Answer]:
    return [Answer(one.by, one.answer, one.reason, one.at) for one in answers]


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
    return ended


def named(payload: Any) -> str | None:
    """The request that a payload names, if it names one."""
    request_id = getattr(payload, "request_id", None)
    return request_id if isinstance(request_id, str) else None
