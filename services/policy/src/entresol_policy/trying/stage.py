"""Let policy decide one case after the other, and look at what it says.

The handlers are the service's own, on a store in memory. What one case changes is rolled back before the next.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from entresol_contracts import Payload
from entresol_contracts.events import (
    AnswerRefused,
    ApprovalRejected,
    ApprovalRequested,
    GlassBroken,
    PlanRequested,
    RequestAllowed,
    RequestDenied,
    RequestHeld,
)
from entresol_eventing.envelope import Cause
from entresol_eventing.reactions import Emit
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool
from sqlmodel import Session

from entresol_policy.books import Books
from entresol_policy.counting import Counting
from entresol_policy.domain.judging import Judgement, Verdict
from entresol_policy.domain.questions import NAME
from entresol_policy.domain.scopes import entitled
from entresol_policy.evaluation import Evaluator
from entresol_policy.handlers import Gate
from entresol_policy.looking import Looker
from entresol_policy.store import Base, cases
from entresol_policy.store.cases import Case as Asked
from entresol_policy.trying import facts
from entresol_policy.trying.facts import Given


@dataclass(slots=True)
class Found:
    """What policy made of a case."""

    outcome: str = ""
    reasons: list[str] = field(default_factory=list)
    """Why, one line each."""
    refused: list[str] = field(default_factory=list)
    """Why answers did not count."""
    approvers: tuple[str, ...] = ()
    """Who was asked; after a glass was broken, who reviews that."""
    holds: tuple[str, ...] = ()
    """Windows by name, and `lock`."""
    policies: dict[str, str] = field(default_factory=dict)
    """By name, how each policy stands to the request."""
    verdicts: tuple[Verdict, ...] = ()


class Stage:
    """A store with what is in force, and the handlers. Use it from one thread."""

    def __init__(self, session: Session, evaluator: Evaluator, manifests: Sequence[Mapping[str, Any]]) -> None:
        self._session = session
        self._now = facts.NOON
        reactions = Gate(evaluator, lambda: self._now).reactions()
        self._handlers = reactions.to
        self._forget = reactions.forget
        self._books = Books()
        self._looker = Looker(self._books, Counting(evaluator), evaluator)
        self._heard = 0
        for one in manifests:
            self._say(facts.applied(one), facts.NOON)
        session.commit()

    def play(self, given: Given) -> Found:
        """What policy says in the end: to the request, to its plan once it asks for it, and to each answer in turn."""
        self._now = facts.time_of(given)
        found = Found()
        changes_books = bool(given.get("locks") or given.get("waivers"))
        try:
            for fact in facts.world(given, self._now):
                self._say(fact, self._now)
            request = facts.submitted(given)
            self._listen(found, request)
            if found.outcome == "plan" and (plan := facts.planned(given, request)):
                self._listen(found, plan)
            for answer in given.get("answers", ()):
                self._answer(found, answer, request.request_id)
            if changes_books:
                self._books.forget()
            self._look(found, given)
        finally:
            self._session.rollback()
            if changes_books:
                self._forget()
                self._books.forget()
        return found

    def _say(self, fact: Payload, at: datetime) -> list[Payload]:
        """Tell policy; return what it says."""
        self._heard += 1
        outcomes = self._handlers[type(fact)](facts.heard(fact, at, self._heard), self._session)
        return [one.data for one in outcomes if isinstance(one, Emit)]

    def _listen(self, found: Found, fact: Payload) -> None:
        for said in self._say(fact, self._now):
            _note(found, said)

    def _answer(self, found: Found, answer: Given, request_id: str) -> None:
        """Give the answer to the first open question that asks its author; if none does, to the first that is open."""
        case = cases.find(self._session, request_id)
        pending = [
            one
            for one in (cases.questions(self._session, request_id) if case else ())
            if one.standing.state == "pending" and answer.get("policy", one.asked.policy) == one.asked.policy
        ]
        if case is None or not pending:
            found.refused.append(f"nobody was asked when {answer['by']} answered")
            return

        def fits(one: cases.Question) -> bool:
            who = (*one.standing.approvers, *one.standing.escalated_to)
            said = any(earlier.by == answer["by"] for earlier in one.standing.answers)
            return not said and entitled(who, answer["by"], answer.get("groups", ()))

        asked = next((one for one in pending if fits(one)), pending[0])
        self._listen(found, facts.answered(answer, asked.asked.id, case.request))

    def _look(self, found: Found, given: Given) -> None:
        """How policies stand to the request, which not every decision says; and who was asked."""
        case = cases.find(self._session, facts.REQUEST_ID)
        asked = cases.questions(self._session, facts.REQUEST_ID) if case else ()
        standing = (one.asked.ask.approvers for one in asked if one.standing.state != "closed")
        found.approvers = tuple(dict.fromkeys(who for approvers in standing for who in approvers))
        request = case or Asked(facts.submitted(given), Cause(), "submitted")
        seen = self._looker.look(self._session, request, self._now)
        judgement = seen.situation.judgement
        found.verdicts = judgement.verdicts
        names = [one.name for one in self._books.open(self._session).policies]
        if request.request.question is not None and NAME not in names:
            names.append(NAME)
        found.policies = _standings(judgement, names, planned=request.plan is not None)
        if found.outcome in ("allow", "hold"):
            told = (one for one in judgement.verdicts if one.matched or one.effect == "error")
            found.reasons += [one.because for one in told if not one.counts and one.because]


@contextmanager
def stage(manifests: Sequence[Mapping[str, Any]]) -> Iterator[Stage]:
    """A stage on which these are in force."""
    evaluator = Evaluator()
    engine = create_engine("sqlite://", poolclass=StaticPool, hide_parameters=True)
    try:
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            yield Stage(session, evaluator, manifests)
    finally:
        engine.dispose()
        evaluator.close()


def _note(found: Found, said: Payload) -> None:
    """Keep what is decided, and why; a later decision replaces an earlier one."""
    match said:
        case RequestDenied():
            _decide(found, "deny", said.because)
        case PlanRequested():
            _decide(found, "plan", [f"policy {name} looks at the plan" for name in said.policies or ()])
        case ApprovalRequested() if not said.review:
            earlier = found.reasons if found.outcome == "approve" else []
            _decide(found, "approve", [*earlier, said.because or f"policy {said.policy} asks"])
        case ApprovalRejected() if not said.review:
            _decide(found, "reject", [f"{one.by}: {one.reason or 'no reason given'}" for one in said.answers])
        case RequestHeld():
            _decide(found, "hold", [one.because for one in said.holds])
            found.holds = tuple("lock" if one.kind == "lock" else one.name for one in said.holds)
        case RequestAllowed():
            _decide(found, "break-glass" if said.glass_broken else "allow", [])
        case GlassBroken():
            found.reasons += said.bypassed
        case AnswerRefused():
            found.refused.append(said.reason)


def _decide(found: Found, outcome: str, reasons: Sequence[str]) -> None:
    found.outcome, found.reasons, found.holds = outcome, list(reasons), ()


def _standings(judgement: Judgement, names: Sequence[str], *, planned: bool) -> dict[str, str]:
    verdicts: dict[str, list[Verdict]] = {}
    for one in judgement.verdicts:
        verdicts.setdefault(one.policy, []).append(one)
    glasses = {one.policy for one in judgement.glasses}
    unplanned = () if planned else judgement.to_plan_for
    unconcerned = frozenset(judgement.unconcerned)
    return {
        name: "unconcerned" if name in unconcerned else _standing(name, verdicts.get(name, ()), glasses, unplanned)
        for name in names
    }


def _standing(name: str, verdicts: Sequence[Verdict], glasses: Collection[str], unplanned: Collection[str]) -> str:
    standing = [one for one in verdicts if one.waived_by is None]
    if any(one.effect == "error" for one in standing):
        return "error"
    if any(one.matched for one in standing) or name in glasses:
        return "matched"
    if len(standing) < len(verdicts):
        return "waived"
    return "unplanned" if name in unplanned else "passed"
