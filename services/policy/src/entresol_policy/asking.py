"""Ask people, and stop asking them: each question has the times by which something has to come of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from entresol_contracts.events import ApprovalClosed, ApprovalRequested
from entresol_eventing.envelope import new_id
from entresol_eventing.reactions import Cancel, Deadline, Emit, Outcome
from sqlmodel import Session

from entresol_policy.domain.approvals import Approval
from entresol_policy.domain.decisions import Asked
from entresol_policy.domain.judging import Ask
from entresol_policy.looking import Seen
from entresol_policy.store import cases
from entresol_policy.store.cases import Case
from entresol_policy.telling import outline, verdicts

EXPIRY = "approval-expiry"
REMINDER = "approval-reminder"
ESCALATION = "approval-escalation"
REVIEW_REMINDER = timedelta(days=1)
"""Between two reminders of a review that is overdue."""


def ask(
    session: Session,
    case: Case,
    seen: Seen,
    policy: str,
    wanted: Ask,
    because: str | None,
    *,
    review: bool = False,
) -> Iterator[Outcome]:
    """Open a question, and set the times by which something has to come of it."""
    request, at = case.request, seen.at
    situation = seen.situation
    about = (None, "pending", None) if review else (case.plan_digest, "pending", situation.inputs_digest)
    asked = Asked(new_id(), policy, wanted, *about)
    standing = Approval(
        approvers=wanted.approvers,
        count=wanted.count,
        all_=wanted.all,
        not_self=wanted.not_self,
        requested_by=request.actor.id,
        expires_at=at + wanted.within,
        review=review,
    )
    cases.ask(session, asked, case.id, because, standing)
    remind_after = wanted.within if review else wanted.remind
    remind_at = None if remind_after is None else at + remind_after
    escalates_at = at + wanted.escalation.after if wanted.escalation else None
    yield Emit(
        ApprovalRequested(
            approval_id=asked.id,
            request_id=case.id,
            resource_id=request.resource_id,
            project=request.project,
            policy=policy,
            approvers=list(wanted.approvers),
            count=wanted.count,
            all=wanted.all or None,
            not_self=wanted.not_self,
            because=because,
            requested_by=request.actor.id,
            expires_at=standing.expires_at,
            offering=request.offering,
            action=request.action,
            environment=request.environment,
            verdicts=verdicts(situation),
            plan=None if case.plan is None or review else outline(case.plan),
            remind_at=remind_at,
            escalates_at=escalates_at,
            escalates_to=list(wanted.escalation.to) if wanted.escalation else None,
            review=review or None,
            reason=request.break_glass if review else request.reason,
        ),
        subject=asked.id,
        partitionkey=request.resource_id,
    )
    args = {"approval": asked.id}
    if not review:
        yield Deadline(expiry_key(asked.id), EXPIRY, standing.expires_at, args)
    if remind_at is not None:
        every = REVIEW_REMINDER if review else wanted.remind
        assert every is not None
        seconds = {"every_seconds": every.total_seconds()}
        yield Deadline(reminder_key(asked.id), REMINDER, remind_at, {**args, **seconds})
    if escalates_at is not None and wanted.escalation is not None:
        later = {**args, "to": list(wanted.escalation.to)}
        yield Deadline(escalation_key(asked.id), ESCALATION, escalates_at, later)


def close(session: Session, case: Case, seen: Seen, ids: Sequence[str]) -> Iterator[Outcome]:
    """Say of questions that nobody needs an answer any more."""
    for one in seen.questions:
        if one.asked.id in ids and one.standing.state == "pending":
            cases.save_standing(session, one.asked.id, replace(one.standing, state="closed"))
            yield from forget(one.asked.id)
            reason = _why_closed(one.asked, case, seen)
            yield Emit(
                ApprovalClosed(
                    approval_id=one.asked.id,
                    request_id=case.id,
                    resource_id=case.request.resource_id,
                    project=case.request.project,
                    policy=one.asked.policy,
                    because=reason,
                ),
                subject=one.asked.id,
                partitionkey=case.request.resource_id,
            )


def _why_closed(asked: Asked, case: Case, seen: Seen) -> str:
    if asked.plan_digest != case.plan_digest:
        return "there is a newer plan"
    if asked.inputs_digest != seen.situation.inputs_digest:
        return "the resource has other inputs than before"
    return "what is in force has changed"


def close_all(session: Session, request_id: str) -> Iterator[Outcome]:
    """The request has ended: close what is still open about it, quietly, because its end was said."""
    for one in cases.questions(session, request_id):
        if one.standing.state == "pending" and not one.standing.review:
            cases.save_standing(session, one.asked.id, replace(one.standing, state="closed"))
            yield from forget(one.asked.id)


def forget(approval_id: str) -> Iterator[Outcome]:
    """Nobody is expected to answer any more."""
    for key in (expiry_key, reminder_key, escalation_key):
        yield Cancel(key(approval_id))


def expiry_key(approval_id: str) -> str:
    return f"approval:{approval_id}"


def reminder_key(approval_id: str) -> str:
    return f"reminder:{approval_id}"


def escalation_key(approval_id: str) -> str:
    return f"escalation:{approval_id}"
