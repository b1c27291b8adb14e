"""Examine a request: look at everything that is known, decide, write it down and say it.

A request is examined when it arrives, when its plan is known, when people have agreed, and whenever something changes
that it waits for. Each time everything is looked at anew; what is the same as before is not said again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

from entresol_contracts.events import (
    ApprovalClosed,
    ApprovalRequested,
    GlassBroken,
    PlanOutline,
    PlanRequested,
    QuotaUse,
    RequestAllowed,
    RequestDenied,
    RequestHeld,
    RunPlanned,
)
from entresol_contracts.events import Hold as HoldTold
from entresol_contracts.events import Verdict as VerdictTold
from entresol_eventing.envelope import new_id
from entresol_eventing.reactions import Cancel, Deadline, Emit, Outcome, caused_by
from sqlmodel import Session

from entresol_policy.books import Books
from entresol_policy.counting import Counting, quota_rows
from entresol_policy.domain.approvals import Approval
from entresol_policy.domain.decisions import (
    Allow,
    Asked,
    AskPeople,
    BreakGlass,
    Decision,
    Deny,
    Hold,
    HoldOn,
    PlanFirst,
    Situation,
    decide,
)
from entresol_policy.domain.judging import Ask, Glass, Judgement, Unclear, Verdict, Waiver, Wanted, judge
from entresol_policy.evaluation import Evaluator
from entresol_policy.hearing import Hearing, about_request
from entresol_policy.holding import concerned_locks, look_at_windows
from entresol_policy.store import cases, entities
from entresol_policy.store.cases import Case

EXPIRY = "approval-expiry"
REMINDER = "approval-reminder"
ESCALATION = "approval-escalation"
HOLD_END = "hold-end"
REVIEW_REMINDER = timedelta(days=1)
"""Between two reminders of a review that is overdue."""
OUTLINED = 20
"""Lines of a plan that go with a question; the rest is in the plan."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found when a request was looked at."""

    at: datetime
    situation: Situation
    questions: Sequence[cases.Question]


class Examiner:
    """Looks at requests and moves them on. `clock` says what time it is: windows and locks are about the present."""

    def __init__(self, books: Books, counting: Counting, evaluator: Evaluator, clock: Callable[[], datetime]) -> None:
        self._books = books
        self._counting = counting
        self._evaluator = evaluator
        self._clock = clock

    def examine(self, session: Session, case: Case, at: datetime | None = None) -> Iterator[Outcome]:
        """Decide, record the decision and say it, as an answer to the newest event of the request's chain."""
        seen = self.look(session, case, at)
        yield from caused_by(case.cause, self._follow(session, case, seen, decide(seen.situation)))

    def look(self, session: Session, case: Case, at: datetime | None = None) -> Seen:
        """Everything that is known about the request at that time, which is now if none is given."""
        at = at or self._clock()
        request = case.request
        in_force = self._books.open(session)
        waivers = [
            Waiver(one.id, one.waives, one.rule)
            for one in in_force.waivers
            if one.until > at and one.scope.fits(request)
        ]
        questions = cases.questions(session, case.id) if case.stored else ()
        judgement = Judgement()
        hearing: Hearing | None = None
        forbidden: list[str] = []
        holds: list[Hold] = []
        shut: list[str] = []
        try:
            if in_force.policies or in_force.windows:
                find = partial(entities.find, session)
                hearing = Hearing(self._evaluator, find, **about_request(request, at, case.plan))
                judgement = judge(in_force.policies, hearing, waivers, planned=case.plan is not None)
                judgement, forbidden = _resolved(judgement, hearing, breaks=request.break_glass is not None)
        except Unclear as unclear:
            forbidden.append(f"no policy can judge this request: {unclear}")
        if not request.dry_run:
            holds += [one for one in concerned_locks(in_force.locks, request, at) if not _let_through(case, one)]
            if in_force.windows and hearing is not None:
                past = {one["name"] for one in case.overridden if one["kind"] == "window"}
                past |= {one.waives.removeprefix("Window/") for one in waivers if one.waives.startswith("Window/")}
                held, shut, unclear_windows = look_at_windows(in_force.windows, hearing, past, at)
                holds += held
                forbidden += unclear_windows
        situation = Situation(
            judgement=judgement,
            quotas=self._counting.uses(session, request, in_force, waivers),
            forbidden=forbidden,
            shut=shut,
            holds=holds,
            asked=[one.asked for one in questions if not one.standing.review],
            plan_digest=case.plan_digest,
            break_glass=request.break_glass if case.state in (cases.SUBMITTED, cases.PLANNING) else None,
            actor=request.actor.id,
            groups=request.actor.groups,
        )
        return Seen(at, situation, questions)

    def _follow(self, session: Session, case: Case, seen: Seen, decision: Decision) -> Iterator[Outcome]:
        match decision:
            case Deny():
                yield from self._deny(session, case, seen, decision)
            case PlanFirst():
                yield from self._move(session, case, cases.PLANNING)
                yield _about(case, PlanRequested, policies=list(decision.policies))
            case AskPeople():
                if case.state == cases.HELD:
                    yield Cancel(hold_key(case.id))
                yield from self._move(session, case, cases.WAITING)
                yield from self._close(session, case, seen, decision.close)
                for wanted in decision.open:
                    yield from self._ask(session, case, seen, wanted.policy, wanted.ask, wanted.because)
            case HoldOn():
                yield from self._close(session, case, seen, decision.close)
                yield from self._hold(session, case, decision)
            case Allow():
                yield from self._close(session, case, seen, decision.close)
                yield from self._allow(session, case, seen, decision.approvals, glass_broken=None)
            case BreakGlass():
                yield from self._close(session, case, seen, [one.id for one in seen.situation.asked])
                yield from self._allow(session, case, seen, (), glass_broken=True)
                yield from self._break(session, case, seen, decision)

    def _deny(self, session: Session, case: Case, seen: Seen, decision: Deny) -> Iterator[Outcome]:
        if case.stored:
            yield from self._move(session, case, cases.DENIED)
            yield from end(session, case.id)
        yield _about(case, RequestDenied, because=list(decision.because), **self._findings(session, seen))

    def _hold(self, session: Session, case: Case, decision: HoldOn) -> Iterator[Outcome]:
        told = [_hold_told(one) for one in decision.holds]
        documents = tuple(one.model_dump(mode="json", exclude_none=True) for one in told)
        news = case.state != cases.HELD or documents != case.holds
        case.holds = documents
        yield from self._move(session, case, cases.HELD)
        ends = [one.until for one in decision.holds if one.until is not None]
        if ends:
            yield Deadline(hold_key(case.id), HOLD_END, min(ends), {"request": case.id})
        else:
            yield Cancel(hold_key(case.id))
        if news:
            yield _about(case, RequestHeld, holds=told)

    def _allow(
        self, session: Session, case: Case, seen: Seen, approvals: Sequence[str], *, glass_broken: bool | None
    ) -> Iterator[Outcome]:
        self._counting.reserve(session, case.request, self._books.open(session))
        if case.state == cases.HELD:
            yield Cancel(hold_key(case.id))
        if case.stored or glass_broken:
            yield from self._move(session, case, cases.ALLOWED)
        yield _about(
            case,
            RequestAllowed,
            approvals=list(approvals) or None,
            overridden=[HoldTold.model_validate(one) for one in case.overridden] or None,
            glass_broken=glass_broken,
            **self._findings(session, seen),
        )

    def _break(self, session: Session, case: Case, seen: Seen, decision: BreakGlass) -> Iterator[Outcome]:
        breaking, request = decision.glass.breaking, case.request
        ask = Ask(breaking.reviewers, within=breaking.within)
        opened = list(self._ask(session, case, seen, decision.glass.policy, ask, "a glass was broken", review=True))
        asked = next(one.data for one in opened if isinstance(one, Emit))
        situation = seen.situation
        yield _about(
            case,
            GlassBroken,
            actor=request.actor.id,
            reason=request.break_glass,
            bypassed=list(decision.bypassed),
            review_id=asked.approval_id,  # type: ignore[attr-defined]
            reviewers=list(breaking.reviewers),
            review_by=seen.at + breaking.within,
            offering=request.offering,
            action=request.action,
            environment=request.environment,
            policy=decision.glass.policy,
            verdicts=_verdicts(situation),
            holds=[_hold_told(one) for one in situation.holds] or None,
            quotas=[QuotaUse(**one) for one in quota_rows(situation.quotas)] or None,
        )
        yield from opened

    def _ask(
        self,
        session: Session,
        case: Case,
        seen: Seen,
        policy: str,
        ask: Ask,
        because: str | None,
        *,
        review: bool = False,
    ) -> Iterator[Outcome]:
        request, at = case.request, seen.at
        asked = Asked(new_id(), policy, ask, None if review else case.plan_digest, "pending")
        standing = Approval(
            approvers=ask.approvers,
            count=ask.count,
            all_=ask.all,
            not_self=ask.not_self,
            requested_by=request.actor.id,
            expires_at=at + ask.within,
            review=review,
        )
        cases.ask(session, asked, case.id, because, standing)
        remind_after = ask.within if review else ask.remind
        remind_at = None if remind_after is None else at + remind_after
        escalates_at = at + ask.escalation.after if ask.escalation else None
        yield Emit(
            ApprovalRequested(
                approval_id=asked.id,
                request_id=case.id,
                resource_id=request.resource_id,
                project=request.project,
                policy=policy,
                approvers=list(ask.approvers),
                count=ask.count,
                all=ask.all or None,
                not_self=ask.not_self,
                because=because,
                requested_by=request.actor.id,
                expires_at=standing.expires_at,
                offering=request.offering,
                action=request.action,
                environment=request.environment,
                verdicts=_verdicts(seen.situation),
                plan=None if case.plan is None or review else outline(case.plan),
                remind_at=remind_at,
                escalates_at=escalates_at,
                escalates_to=list(ask.escalation.to) if ask.escalation else None,
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
            every = REVIEW_REMINDER if review else ask.remind
            assert every is not None
            seconds = {"every_seconds": every.total_seconds()}
            yield Deadline(reminder_key(asked.id), REMINDER, remind_at, {**args, **seconds})
        if escalates_at is not None and ask.escalation is not None:
            later = {**args, "to": list(ask.escalation.to)}
            yield Deadline(escalation_key(asked.id), ESCALATION, escalates_at, later)

    def _close(self, session: Session, case: Case, seen: Seen, ids: Sequence[str]) -> Iterator[Outcome]:
        """Say of questions that nobody needs an answer any more."""
        for one in seen.questions:
            if one.asked.id in ids and one.standing.state == "pending":
                cases.save_standing(session, one.asked.id, replace(one.standing, state="closed"))
                yield from forget(one.asked.id)
                outdated = one.asked.plan_digest != case.plan_digest
                reason = "there is a newer plan" if outdated else "what is in force has changed"
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

    def _move(self, session: Session, case: Case, state: str) -> Iterator[Outcome]:
        case.state = state
        cases.save(session, case)
        yield from ()

    def _findings(self, session: Session, seen: Seen) -> dict[str, Any]:
        situation = seen.situation
        return {
            "verdicts": _verdicts(situation),
            "unconcerned": list(situation.judgement.unconcerned) or None,
            "plan_digest": situation.plan_digest,
            "quotas": [QuotaUse(**one) for one in quota_rows(situation.quotas)] or None,
            "policies": len(self._books.open(session).policies) or None,
        }


def end(session: Session, request_id: str) -> Iterator[Outcome]:
    """The request has ended: close what is still open about it, quietly, because its end was said."""
    yield Cancel(hold_key(request_id))
    for one in cases.questions(session, request_id):
        if one.standing.state == "pending" and not one.standing.review:
            cases.save_standing(session, one.asked.id, replace(one.standing, state="closed"))
            yield from forget(one.asked.id)


def forget(approval_id: str) -> Iterator[Outcome]:
    """Nobody is expected to answer any more."""
    for key in (expiry_key, reminder_key, escalation_key):
        yield Cancel(key(approval_id))


def outline(plan: RunPlanned) -> PlanOutline:
    lines = [line for step in plan.steps for line in step.summary or []]
    return PlanOutline(
        digest=plan.digest,
        adds=plan.adds,
        changes=plan.changes,
        destroys=plan.destroys,
        cost=plan.cost,
        unknown=plan.unknown,
        summary=[line[:500] for line in lines[:OUTLINED]],
    )


def expiry_key(approval_id: str) -> str:
    return f"approval:{approval_id}"


def reminder_key(approval_id: str) -> str:
    return f"reminder:{approval_id}"


def escalation_key(approval_id: str) -> str:
    return f"escalation:{approval_id}"


def hold_key(request_id: str) -> str:
    return f"hold:{request_id}"


def _resolved(judgement: Judgement, hearing: Hearing, *, breaks: bool) -> tuple[Judgement, list[str]]:
    """The judgement with the people that are meant; and why somebody can't be asked."""
    forbidden: list[str] = []
    wanted: list[Wanted] = []
    glasses: list[Glass] = []
    for one in judgement.wanted:
        try:
            escalation = one.ask.escalation
            if escalation is not None:
                escalation = replace(escalation, to=hearing.people(escalation.to))
            approvers = hearing.people(one.ask.approvers)
            count = len(approvers) if one.ask.all else one.ask.count
            wanted.append(replace(one, ask=replace(one.ask, approvers=approvers, count=count, escalation=escalation)))
        except Unclear as unclear:
            forbidden.append(f"policy {one.policy}: {unclear}")
    for glass in judgement.glasses if breaks else ():
        try:
            reviewers = hearing.people(glass.breaking.reviewers)
            glasses.append(replace(glass, breaking=replace(glass.breaking, reviewers=reviewers)))
        except Unclear as unclear:
            forbidden.append(f"policy {glass.policy}: {unclear}")
    return replace(judgement, wanted=tuple(wanted), glasses=tuple(glasses)), forbidden


def _let_through(case: Case, hold: Hold) -> bool:
    return any(one["kind"] == hold.kind and one["name"] == hold.name for one in case.overridden)


def _about(case: Case, payload: type[Any], **fields: Any) -> Emit:
    request = case.request
    names = {"request_id": case.id, "resource_id": request.resource_id, "project": request.project}
    return Emit(payload(**names, **fields), subject=case.id, partitionkey=request.resource_id)


def _verdicts(situation: Situation) -> list[VerdictTold]:
    return [_verdict_told(one) for one in situation.judgement.verdicts]


@lru_cache(maxsize=4096)
def _verdict_told(verdict: Verdict) -> VerdictTold:
    """Most rules say the same of most requests; making the model costs more than hearing the rule."""
    return VerdictTold(**asdict(verdict))


def _hold_told(hold: Hold) -> HoldTold:
    return HoldTold(kind=hold.kind, name=hold.name, because=hold.because, by=hold.by, until=hold.until)


def all_holds(holds: Iterable[Hold]) -> list[dict[str, Any]]:
    """As they are stored and told."""
    return [_hold_told(one).model_dump(mode="json", exclude_none=True) for one in holds]
