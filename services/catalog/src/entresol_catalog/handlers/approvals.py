"""Facts about approvals, each of which belongs to a request. Those that end the request too are among its own."""

from collections.abc import Callable, Mapping, Sequence

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.approvals import Answer, Approval, ApprovalState, Delegation
from entresol_catalog.domain.requests import Request
from entresol_catalog.handlers.board import Board, Fact

Fold = Callable[[Board, Request, Fact], bool]


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
        all=data.all or False,
        reason=data.reason,
        plan=None if data.plan is None else data.plan.model_dump(exclude_none=True),
        review=data.review or False,
        remind_at=data.remind_at,
        escalates_at=data.escalates_at,
        escalates_to=data.escalates_to or [],
    )
    if not request.ask(approval, fact.at):
        return False
    board.approvals.add((approval.id,), approval, fact.position)
    return True


def hear(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalAnswered = fact.event.data
    answer = Answer(data.by, data.answer, data.reason, fact.at, fact.event.id)
    return request.follow(data.approval_id, lambda approval: approval.hear(answer), fact.at)


def withdraw(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.AnswerWithdrawn = fact.event.data
    return request.follow(
        data.approval_id, lambda approval: approval.withdraw(data.by, data.reason, fact.at, fact.event.id), fact.at
    )


def delegate(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalDelegated = fact.event.data
    delegation = Delegation(data.by, data.to, data.reason, fact.at, fact.event.id)
    return request.follow(data.approval_id, lambda approval: approval.delegate(delegation), fact.at)


def refuse(_: Board, request: Request, fact: Fact) -> bool:
    """An answer that comes too late is refused too, so this may happen to a request that has ended."""
    data: facts.AnswerRefused = fact.event.data
    said = fact.event.causationid
    return request.follow(
        data.approval_id, lambda approval: approval.refuse(data.by, data.reason, fact.at, said), fact.at
    )


def remind(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalReminded = fact.event.data
    return request.remind(data.approval_id, fact.at)


def escalate(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalEscalated = fact.event.data
    return request.follow(
        data.approval_id, lambda approval: approval.escalate(data.approvers, data.expires_at, fact.at), fact.at
    )


def settle(_: Board, request: Request, fact: Fact) -> bool:
    """Enough people said yes, or somebody signed off a review or objected to what it is about."""
    data: facts.ApprovalGranted | facts.ApprovalRejected = fact.event.data
    answers = counted(data.answers)
    state: ApprovalState = "granted" if isinstance(data, facts.ApprovalGranted) else "rejected"
    return request.follow(data.approval_id, lambda approval: approval.end(state, answers), fact.at)


def close(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalClosed = fact.event.data
    return request.follow(data.approval_id, lambda approval: approval.end("closed", because=data.because), fact.at)


FOLDS: Mapping[type[Payload], Fold] = {
    facts.ApprovalRequested: ask,
    facts.ApprovalAnswered: hear,
    facts.AnswerWithdrawn: withdraw,
    facts.ApprovalDelegated: delegate,
    facts.AnswerRefused: refuse,
    facts.ApprovalReminded: remind,
    facts.ApprovalEscalated: escalate,
    facts.ApprovalGranted: settle,
    facts.ApprovalClosed: close,
}


def counted(answers: Sequence[facts.Answer]) -> list[Answer]:
    """The answers that policy has counted."""
    return [Answer(one.by, one.answer, one.reason, one.at) for one in answers]
