"""What policy does when events arrive: decide requests, weigh answers, let approvals end.

What it could get wrong is deciding twice. Every change is guarded by the state it starts from, so a repeated or
late event, or a deadline that comes after the answer, changes nothing and says nothing.
"""

from collections.abc import Iterator
from dataclasses import replace

from entresol_contracts.events import Answer as AnswerSaid
from entresol_contracts.events import (
    AnswerRefused,
    ApprovalAnswered,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    ManifestApplied,
    ManifestRemoved,
    RequestAllowed,
    RequestCancelled,
    RequestDenied,
    RequestSubmitted,
    Verdict,
)
from entresol_eventing.envelope import Event, new_id
from entresol_eventing.reactions import Cancel, Deadline, Due, Emit, Outcome, Reactions
from sqlmodel import Session

from entresol_policy import store
from entresol_policy.domain.approvals import UNKNOWN, Answer, Approval, Refusal, weigh
from entresol_policy.domain.judging import Judgement, Policy, Unclear, judge
from entresol_policy.rules import compile_policy, scope

KIND = "Policy"
EXPIRY = "approval-expiry"
SYSTEM = "system:policy"


class Gate:
    """Policy's handlers, with the compiled policies between them and the store.

    Only the writer thread comes here. The compiled policies are dropped whenever a policy changes and after every
    rollback, and are read again for the next request.
    """

    def __init__(self) -> None:
        self._policies: tuple[Policy, ...] | None = None

    def reactions(self) -> Reactions:
        return Reactions(
            to={
                ManifestApplied: self.apply,
                ManifestRemoved: self.remove,
                RequestSubmitted: self.decide,
                RequestCancelled: cancel,
                ApprovalAnswered: answer,
            },
            when_due={EXPIRY: expire},
            forget=self.forget,
        )

    def forget(self) -> None:
        self._policies = None

    def apply(self, event: Event[ManifestApplied], session: Session) -> Iterator[Outcome]:
        if event.data.kind == KIND:
            store.put_policy(session, event.data.name, event.data.digest, event.data.manifest)
            self.forget()
        yield from ()

    def remove(self, event: Event[ManifestRemoved], session: Session) -> Iterator[Outcome]:
        if event.data.kind == KIND:
            store.remove_policy(session, event.data.name)
            self.forget()
        yield from ()

    def decide(self, event: Event[RequestSubmitted], session: Session) -> Iterator[Outcome]:
        """Allow, deny, or ask people; the inputs are those the event froze, "now" is the event's time."""
        request = event.data
        if self._policies is None:
            self._policies = tuple(compile_policy(*found) for found in store.policies(session))
        ids = {"request_id": request.request_id, "resource_id": request.resource_id, "project": request.project}
        try:
            judgement = judge(self._policies, scope(event)) if self._policies else Judgement((), (), ())
        except Unclear as unclear:
            judgement = Judgement((), (f"no policy can judge this request: {unclear}",), ())
        verdicts = [
            Verdict(
                policy=one.policy,
                version=one.version,
                rule=one.rule,
                effect=one.effect,
                mode=one.mode,
                matched=one.matched,
                because=one.because,
            )
            for one in judgement.verdicts
        ]
        if judgement.denials:
            denied = RequestDenied(**ids, because=list(judgement.denials), verdicts=verdicts)
            yield Emit(denied, subject=request.request_id, partitionkey=request.resource_id)
        elif not judgement.wanted:
            allowed = RequestAllowed(**ids, verdicts=verdicts)
            yield Emit(allowed, subject=request.request_id, partitionkey=request.resource_id)
        elif not store.is_known(session, request.request_id):
            yield from _ask(event, judgement, verdicts, session)


def _ask(
    event: Event[RequestSubmitted], judgement: Judgement, verdicts: list[Verdict], session: Session
) -> Iterator[Outcome]:
    request = event.data
    asked = [
        ApprovalRequested(
            approval_id=new_id(),
            request_id=request.request_id,
            resource_id=request.resource_id,
            project=request.project,
            policy=wanted.policy,
            approvers=list(wanted.ask.approvers),
            count=wanted.ask.count,
            not_self=wanted.ask.not_self,
            because=wanted.because,
            requested_by=request.actor.id,
            expires_at=event.time + wanted.ask.within,
            offering=request.offering,
            action=request.action,
            environment=request.environment,
            verdicts=verdicts,
        )
        for wanted in judgement.wanted
    ]
    store.put_waiting(
        session,
        {
            "id": request.request_id,
            "resource_id": request.resource_id,
            "project": request.project,
            "requested_by": request.actor.id,
            "verdicts": [one.model_dump(mode="json", exclude_none=True) for one in verdicts],
            "state": "waiting",
            "submitted_at": event.time,
        },
        [
            {
                "id": one.approval_id,
                "request_id": one.request_id,
                "policy": one.policy,
                "approvers": one.approvers,
                "count": one.count,
                "not_self": one.not_self,
                "expires_at": one.expires_at,
                "state": "pending",
                "answers": [],
            }
            for one in asked
        ],
    )
    for one in asked:
        yield Emit(one, subject=one.approval_id, partitionkey=one.resource_id)
        yield Deadline(_key(one.approval_id), EXPIRY, one.expires_at, {"approval": one.approval_id})


def cancel(event: Event[RequestCancelled], session: Session) -> Iterator[Outcome]:
    """Stop asking. Policy says nothing about it: provisioning alone answers a cancellation."""
    if store.end_request(session, event.data.request_id, "cancelled"):
        yield from _close(session, event.data.request_id)


def answer(event: Event[ApprovalAnswered], session: Session) -> Iterator[Outcome]:
    """Count an answer, or refuse it; the last grant that was missing allows the request."""
    said = event.data
    asked = store.asked(session, said.approval_id)
    if asked is None:
        yield _refused(event, UNKNOWN.reason, event.partitionkey)
        return
    counted = Answer(said.by, said.answer, said.reason, event.time)
    weighed = weigh(asked.approval, asked.request_state, counted, said.groups)
    if isinstance(weighed, Refusal):
        yield _refused(event, weighed.reason, asked.resource_id)
        return
    store.save_approval(session, asked.id, weighed)
    if weighed.state == "rejected":
        store.end_request(session, asked.request_id, "rejected")
        yield Cancel(_key(asked.id))
        yield _end(ApprovalRejected, asked, weighed)
        yield from _close(session, asked.request_id)
    elif weighed.state == "granted":
        yield Cancel(_key(asked.id))
        yield _end(ApprovalGranted, asked, weighed)
        if not store.approvals(session, asked.request_id, "pending"):
            yield from _allow(asked, session)


def expire(due: Due, session: Session) -> Iterator[Outcome]:
    """End an approval that nobody answered in time, and with it the request."""
    asked = store.asked(session, due.args["approval"])
    if asked is None or asked.approval.state != "pending":
        return
    store.save_approval(session, asked.id, replace(asked.approval, state="expired"))
    store.end_request(session, asked.request_id, "expired")
    yield _end(ApprovalExpired, asked, asked.approval, actor=SYSTEM)
    yield from _close(session, asked.request_id)


def _allow(asked: store.Asked, session: Session) -> Iterator[Outcome]:
    if store.end_request(session, asked.request_id, "allowed"):
        allowed = RequestAllowed(
            request_id=asked.request_id,
            resource_id=asked.resource_id,
            project=asked.project,
            verdicts=store.verdicts(session, asked.request_id),
            approvals=store.approvals(session, asked.request_id, "granted"),
        )
        yield Emit(allowed, subject=asked.request_id, partitionkey=asked.resource_id)


def _end(
    fact: type[ApprovalGranted] | type[ApprovalRejected] | type[ApprovalExpired],
    asked: store.Asked,
    approval: Approval,
    actor: str | None = None,
) -> Emit:
    ended = fact(
        approval_id=asked.id,
        request_id=asked.request_id,
        resource_id=asked.resource_id,
        project=asked.project,
        policy=asked.policy,
        answers=[AnswerSaid(by=one.by, answer=one.answer, reason=one.reason, at=one.at) for one in approval.answers],
    )
    return Emit(ended, subject=asked.id, partitionkey=asked.resource_id, actor=actor)


def _close(session: Session, request_id: str) -> Iterator[Outcome]:
    for approval_id in store.close_approvals(session, request_id):
        yield Cancel(_key(approval_id))


def _refused(event: Event[ApprovalAnswered], reason: str, partitionkey: str) -> Emit:
    said = event.data
    refused = AnswerRefused(
        approval_id=said.approval_id, request_id=said.request_id, project=said.project, by=said.by, reason=reason
    )
    return Emit(refused, subject=said.approval_id, partitionkey=partitionkey)


def _key(approval_id: str) -> str:
    return f"approval:{approval_id}"
