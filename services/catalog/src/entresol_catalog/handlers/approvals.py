"""Facts about approvals, each of which belongs to a request. Those that end the request too are among its own."""

from collections.abc import Callable, Mapping

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.approvals import Answer, Approval, ApprovalState, Said
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
        missing=len(data.approvers) if data.all else data.count,
    )
    approval.ask(data.approvers)
    if not request.ask(approval, fact.at):
        return False
    board.approvals.add((approval.id,), approval, fact.position)
    return True


def hear(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalAnswered | facts.AnswerWithdrawn | facts.ApprovalDelegated = fact.event.data
    said = Said(data.by, "withdrawn", data.reason, fact.at, fact.event.id)
    if isinstance(data, facts.ApprovalAnswered):
        said.said = data.answer
    elif isinstance(data, facts.ApprovalDelegated):
        said.said, said.to = "delegated", data.to
    return request.follow(data.approval_id, lambda approval: approval.hear(said), fact.at)


def count(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.AnswerCounted = fact.event.data
    said = Said(data.by, data.said, data.reason, data.at, _said_in(fact), data.to)
    given = None
    if data.said in ("granted", "rejected"):
        stands_for = data.stands_for or []
        given = Answer(data.by, data.said, data.reason, data.at, said.event, data.in_place_of, stands_for)

    def change(approval: Approval) -> bool:
        return approval.accept(said, data.missing, data.missing_from, given)

    return request.follow(data.approval_id, change, fact.at)


def refuse(_: Board, request: Request, fact: Fact) -> bool:
    """An answer that comes too late is refused too, so this may happen to a request that has ended."""
    data: facts.AnswerRefused = fact.event.data
    said = _said_in(fact)
    return request.follow(
        data.approval_id, lambda approval: approval.refuse(data.by, data.reason, fact.at, said), fact.at
    )


def _said_in(fact: Fact) -> str:
    """The event that policy rules on."""
    return fact.event.causationid or fact.event.id


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
    state: ApprovalState = "granted" if isinstance(data, facts.ApprovalGranted) else "rejected"
    return request.follow(data.approval_id, lambda approval: approval.end(state), fact.at)


def close(_: Board, request: Request, fact: Fact) -> bool:
    data: facts.ApprovalClosed = fact.event.data
    return request.follow(data.approval_id, lambda approval: approval.end("closed", data.because), fact.at)


FOLDS: Mapping[type[Payload], Fold] = {
    facts.ApprovalRequested: ask,
    facts.ApprovalAnswered: hear,
    facts.AnswerWithdrawn: hear,
    facts.ApprovalDelegated: hear,
    facts.AnswerCounted: count,
    facts.AnswerRefused: refuse,
    facts.ApprovalReminded: remind,
    facts.ApprovalEscalated: escalate,
    facts.ApprovalGranted: settle,
    facts.ApprovalClosed: close,
}
