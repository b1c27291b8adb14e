"""What policy does when people speak, or don't: answers, withdrawals, delegations, overrides, and the times by which
somebody should have said something.

All that people say is answered: it counts, or it changes nothing and its author is told why. When the last grant that
was missing is there, the request is examined, so a lock that was placed meanwhile still holds it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from entresol_contracts.events import Answer as AnswerTold
from entresol_contracts.events import (
    AnswerCounted,
    AnswerRefused,
    AnswerWithdrawn,
    ApprovalAnswered,
    ApprovalDelegated,
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalReminded,
    Hold,
    HoldOverridden,
    OverrideCounted,
    OverrideRefused,
)
from entresol_eventing.envelope import Event
from entresol_eventing.reactions import Deadline, Due, Emit, Outcome
from sqlmodel import Session

from entresol_policy.asking import REMINDER, forget, reminder_key
from entresol_policy.domain.approvals import (
    UNKNOWN,
    Answer,
    Approval,
    Delegation,
    Refusal,
    delegate,
    escalate,
    wanting,
    weigh,
    withdraw,
)
from entresol_policy.domain.scopes import entitled
from entresol_policy.examining import Examiner, end
from entresol_policy.store import cases
from entresol_policy.store.cases import Question
from entresol_policy.telling import all_holds

SYSTEM = "system:policy"

Said: TypeAlias = Event[ApprovalAnswered] | Event[AnswerWithdrawn] | Event[ApprovalDelegated]


class People:
    """Handlers of what people say about requests."""

    def __init__(self, examiner: Examiner, clock: Callable[[], datetime]) -> None:
        self._examiner = examiner
        self._clock = clock

    def answer(self, event: Event[ApprovalAnswered], session: Session) -> Iterator[Outcome]:
        """Count an answer, or refuse it; the last grant that was missing lets the request go on."""
        said = event.data
        found = cases.question(session, said.approval_id)
        if found is None:
            yield _refused(event, UNKNOWN)
            return
        answer = Answer(said.by, said.answer, said.reason, event.time)
        state = cases.state_of(session, found.request_id) or cases.WAITING
        weighed = weigh(found.standing, state, answer, said.groups)
        if isinstance(weighed, Refusal):
            yield _refused(event, weighed)
            return
        found = replace(found, standing=weighed)
        yield _counted(session, event, found, said.answer, weighed.answers[-1])
        cases.save_standing(session, said.approval_id, weighed)
        if weighed.state == "pending":
            return
        yield from forget(said.approval_id)
        case = cases.find(session, found.request_id)
        assert case is not None
        resource = case.request.resource_id
        fact = ApprovalGranted if weighed.state == "granted" else ApprovalRejected
        yield _ended(fact, found, resource, case.request.project)
        if weighed.review:
            return
        case.cause = event.cause
        if weighed.state == "rejected":
            case.state = cases.REJECTED
            cases.save(session, case)
            yield from end(session, case.id)
        else:
            yield from self._examiner.examine(session, case)

    def withdraw(self, event: Event[AnswerWithdrawn], session: Session) -> Iterator[Outcome]:
        """Forget a grant, or refuse to."""
        said = event.data
        found = cases.question(session, said.approval_id)
        changed = UNKNOWN if found is None else withdraw(found.standing, said.by, event.time)
        yield from _change(session, event, found, changed, "withdrawn")

    def delegate(self, event: Event[ApprovalDelegated], session: Session) -> Iterator[Outcome]:
        """Let another person answer in somebody's place, or refuse to."""
        said = event.data
        found = cases.question(session, said.approval_id)
        changed = UNKNOWN if found is None else delegate(found.standing, said.by, said.groups, said.to, event.time)
        yield from _change(session, event, found, changed, "delegated")

    def override(self, event: Event[HoldOverridden], session: Session) -> Iterator[Outcome]:
        """Let a held request begin, if everything that holds it may be overridden by who says so."""
        said = event.data
        case = cases.find(session, said.request_id)
        if case is None or case.state != cases.HELD:
            reason = "nothing holds it" if case is None else f"nothing holds it: it is {case.state}"
            yield _override_refused(event, reason)
            return
        holds = self._examiner.holds(session, case)
        for hold in holds:
            if not entitled(hold.override, said.by, said.groups):
                allowed = f"only {', '.join(hold.override)} may" if hold.override else "nobody may"
                yield _override_refused(event, f"{hold.words()}; {allowed} let it through")
                return
        through = all_holds(holds)
        case.overridden = (*case.overridden, *through)
        case.cause = event.cause
        counted = OverrideCounted(
            request_id=case.id,
            resource_id=said.resource_id,
            project=said.project,
            by=said.by,
            reason=said.reason,
            holds=[Hold.model_validate(one) for one in through],
        )
        yield Emit(counted, subject=case.id, partitionkey=said.resource_id)
        yield from self._examiner.examine(session, case)

    def expire(self, due: Due, session: Session) -> Iterator[Outcome]:
        """End an approval that nobody answered in time, and with it the request."""
        found = _pending(session, due)
        if found is None:
            return
        case = cases.find(session, found.request_id)
        assert case is not None
        cases.save_standing(session, found.asked.id, replace(found.standing, state="expired"))
        yield from forget(found.asked.id)
        case.state = cases.EXPIRED
        cases.save(session, case)
        yield _ended(ApprovalExpired, found, case.request.resource_id, case.request.project, actor=SYSTEM)
        yield from end(session, case.id)

    def remind(self, due: Due, session: Session) -> Iterator[Outcome]:
        """Say that an answer is still missing, and look again after as long."""
        found = _pending(session, due)
        if found is None:
            return
        yield self._told(ApprovalReminded, found, session, approvers=list(found.standing.approvers))
        again = self._clock() + timedelta(seconds=due.args["every_seconds"])
        if found.standing.review or again < found.standing.expires_at:
            yield Deadline(reminder_key(found.asked.id), REMINDER, again, due.args)

    def escalate(self, due: Due, session: Session) -> Iterator[Outcome]:
        """Let others answer too."""
        found = _pending(session, due)
        if found is not None:
            cases.save_standing(session, found.asked.id, escalate(found.standing, due.args["to"]))
            yield self._told(ApprovalEscalated, found, session, approvers=list(due.args["to"]))

    def _told(self, fact: type[Any], found: Question, session: Session, **fields: Any) -> Emit:
        case = cases.find(session, found.request_id)
        assert case is not None
        if found.standing.review:
            fields["review"] = True
        told = fact(
            approval_id=found.asked.id,
            request_id=case.id,
            resource_id=case.request.resource_id,
            project=case.request.project,
            policy=found.asked.policy,
            expires_at=found.standing.expires_at,
            requested_by=found.standing.requested_by,
            **fields,
        )
        return Emit(told, subject=found.asked.id, partitionkey=case.request.resource_id, actor=SYSTEM)


def _pending(session: Session, due: Due) -> Question | None:
    found = cases.question(session, due.args["approval"])
    return found if found is not None and found.standing.state == "pending" else None


def _ended(fact: type[Any], found: Question, resource_id: str, project: str, actor: str | None = None) -> Emit:
    fields: dict[str, Any] = {}
    if fact is not ApprovalExpired:
        fields = {"review": found.standing.review or None, "plan_digest": found.asked.plan_digest}
    ended = fact(
        approval_id=found.asked.id,
        request_id=found.request_id,
        resource_id=resource_id,
        project=project,
        policy=found.asked.policy,
        answers=[
            AnswerTold(by=one.by, answer=one.answer, reason=one.reason, at=one.at, in_place_of=one.in_place_of)
            for one in found.standing.answers
        ],
        **fields,
    )
    return Emit(ended, subject=found.asked.id, partitionkey=resource_id, actor=actor)


def _change(
    session: Session,
    event: Event[AnswerWithdrawn] | Event[ApprovalDelegated],
    found: Question | None,
    changed: Approval | Refusal,
    said: str,
) -> Iterator[Outcome]:
    """Keep what was said, and say that it counts; or why it does not."""
    if found is None or isinstance(changed, Refusal):
        yield _refused(event, changed if isinstance(changed, Refusal) else UNKNOWN)
    else:
        cases.save_standing(session, found.asked.id, changed)
        given = changed.delegations[-1] if said == "delegated" else None
        yield _counted(session, event, replace(found, standing=changed), said, given)


def _counted(session: Session, event: Said, found: Question, said: str, given: Answer | Delegation | None) -> Emit:
    missing, missing_from = wanting(found.standing)
    case = cases.find(session, found.request_id)
    assert case is not None
    counted = AnswerCounted(
        approval_id=found.asked.id,
        request_id=found.request_id,
        resource_id=case.request.resource_id,
        project=case.request.project,
        policy=found.asked.policy,
        by=event.data.by,
        said=said,
        at=event.time,
        reason=event.data.reason or None,
        to=event.data.to if isinstance(event.data, ApprovalDelegated) else None,
        in_place_of=given.in_place_of if isinstance(given, Answer) else None,
        stands_for=list(given.stands_for) if given else None,
        missing=missing,
        missing_from=list(missing_from),
        review=found.standing.review or None,
    )
    return Emit(counted, subject=found.asked.id, partitionkey=case.request.resource_id)


def _refused(event: Said, refusal: Refusal) -> Emit:
    said = event.data
    refused = AnswerRefused(
        approval_id=said.approval_id,
        request_id=said.request_id,
        project=said.project,
        by=said.by,
        reason=refusal.reason,
    )
    return Emit(refused, subject=said.approval_id, partitionkey=event.partitionkey)


def _override_refused(event: Event[HoldOverridden], reason: str) -> Emit:
    said = event.data
    refused = OverrideRefused(request_id=said.request_id, project=said.project, by=said.by, reason=reason)
    return Emit(refused, subject=said.request_id, partitionkey=said.resource_id)
