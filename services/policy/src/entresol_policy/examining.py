"""Examine a request: look at everything that is known, decide, write it down and say it.

A request is examined when it arrives, when its plan is known, when people have agreed, and whenever something changes
that it waits for. Each time everything is looked at anew; what is the same as before is not said again.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from entresol_contracts.events import GlassBroken, PlanRequested, RequestAllowed, RequestDenied, RequestHeld
from entresol_contracts.events import Hold as HoldTold
from entresol_eventing.reactions import Cancel, Deadline, Emit, Outcome, caused_by
from sqlmodel import Session

from entresol_policy.asking import ask, close, close_all
from entresol_policy.books import Books
from entresol_policy.counting import Counting
from entresol_policy.domain.decisions import (
    Allow,
    AskPeople,
    BreakGlass,
    Decision,
    Deny,
    Hold,
    HoldOn,
    PlanFirst,
    decide,
)
from entresol_policy.domain.judging import Ask
from entresol_policy.evaluation import Evaluator
from entresol_policy.looking import Looker, Seen
from entresol_policy.store import cases
from entresol_policy.store.cases import Case
from entresol_policy.telling import about, findings, hold_told, quotas, verdicts

HOLD_END = "hold-end"


class Examiner:
    """Looks at requests and moves them on. `clock` says what time it is: windows and locks are about the present."""

    def __init__(self, books: Books, counting: Counting, evaluator: Evaluator, clock: Callable[[], datetime]) -> None:
        self._books = books
        self._counting = counting
        self._looker = Looker(books, counting, evaluator)
        self._clock = clock

    def examine(self, session: Session, case: Case, at: datetime | None = None) -> Iterator[Outcome]:
        """Decide, record the decision and say it, as an answer to the newest event of the request's chain."""
        seen = self._looker.look(session, case, at or self._clock())
        yield from caused_by(case.cause, self._follow(session, case, seen, decide(seen.situation)))

    def holds(self, session: Session, case: Case) -> Sequence[Hold]:
        """What holds the request now."""
        return self._looker.look(session, case, self._clock()).situation.holds

    def _follow(self, session: Session, case: Case, seen: Seen, decision: Decision) -> Iterator[Outcome]:
        match decision:
            case Deny():
                yield from self._deny(session, case, seen, decision)
            case PlanFirst():
                yield from close(session, case, seen, [one.id for one in seen.situation.asked])
                yield from self._move(session, case, cases.PLANNING)
                yield about(case, PlanRequested, policies=list(decision.policies))
            case AskPeople():
                if case.state == cases.HELD:
                    yield Cancel(hold_key(case.id))
                yield from self._move(session, case, cases.WAITING)
                yield from close(session, case, seen, decision.close)
                for wanted in decision.open:
                    yield from ask(session, case, seen, wanted.policy, wanted.ask, wanted.because)
            case HoldOn():
                yield from close(session, case, seen, decision.close)
                yield from self._hold(session, case, decision)
            case Allow():
                yield from close(session, case, seen, decision.close)
                yield from self._allow(session, case, seen, decision.approvals, glass_broken=None)
            case BreakGlass():
                yield from close(session, case, seen, [one.id for one in seen.situation.asked])
                yield from self._allow(session, case, seen, (), glass_broken=True)
                yield from self._break(session, case, seen, decision)

    def _deny(self, session: Session, case: Case, seen: Seen, decision: Deny) -> Iterator[Outcome]:
        if case.stored:
            yield from self._move(session, case, cases.DENIED)
            yield from end(session, case.id)
        yield about(case, RequestDenied, because=list(decision.because), **findings(seen))

    def _hold(self, session: Session, case: Case, decision: HoldOn) -> Iterator[Outcome]:
        told = [hold_told(one) for one in decision.holds]
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
            yield about(case, RequestHeld, holds=told)

    def _allow(
        self, session: Session, case: Case, seen: Seen, approvals: Sequence[str], *, glass_broken: bool | None
    ) -> Iterator[Outcome]:
        self._counting.reserve(session, case.request, seen.inputs, self._books.open(session))
        inputs_digest = None if glass_broken else seen.situation.inputs_digest
        if case.state == cases.HELD:
            yield Cancel(hold_key(case.id))
        if case.stored or glass_broken or inputs_digest:
            yield from self._move(session, case, cases.ALLOWED)
        yield about(
            case,
            RequestAllowed,
            approvals=list(approvals) or None,
            overridden=[HoldTold.model_validate(one) for one in case.overridden] or None,
            glass_broken=glass_broken,
            inputs_digest=inputs_digest,
            **findings(seen),
        )

    def _break(self, session: Session, case: Case, seen: Seen, decision: BreakGlass) -> Iterator[Outcome]:
        breaking, request = decision.glass.breaking, case.request
        review = Ask(breaking.reviewers, within=breaking.within)
        opened = list(ask(session, case, seen, decision.glass.policy, review, "a glass was broken", review=True))
        asked = next(one.data for one in opened if isinstance(one, Emit))
        situation = seen.situation
        yield about(
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
            verdicts=verdicts(situation),
            holds=[hold_told(one) for one in situation.holds] or None,
            quotas=quotas(situation),
        )
        yield from opened

    def _move(self, session: Session, case: Case, state: str) -> Iterator[Outcome]:
        case.state = state
        cases.save(session, case)
        yield from ()


def end(session: Session, request_id: str) -> Iterator[Outcome]:
    """The request has ended: nothing holds it any more, and nobody is asked about it."""
    yield Cancel(hold_key(request_id))
    yield from close_all(session, request_id)


def hold_key(request_id: str) -> str:
    return f"hold:{request_id}"
