"""Look at everything that is known about a request: what policies say, quotas, locks, windows, and who was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from entresol_contracts.events import RequestSubmitted
from sqlmodel import Session

from entresol_policy.books import Books
from entresol_policy.counting import Counting
from entresol_policy.domain.decisions import Hold, Situation
from entresol_policy.domain.judging import Ask, Glass, Judgement, Unclear, Waiver, Wanted, judge
from entresol_policy.domain.questions import with_question
from entresol_policy.domain.scopes import entitled
from entresol_policy.evaluation import Evaluator
from entresol_policy.hearing import Hearing, about_request
from entresol_policy.holding import concerned_locks, look_at_windows
from entresol_policy.inputs import digest_of, judged
from entresol_policy.store import cases, entities
from entresol_policy.store.cases import Case


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found when a request was looked at."""

    at: datetime
    situation: Situation
    questions: Sequence[cases.Question]
    inputs: Mapping[str, Any]
    """By which it was judged."""
    policies: int
    """How many were in force."""


class Looker:
    """Looks at requests, and changes nothing."""

    def __init__(self, books: Books, counting: Counting, evaluator: Evaluator) -> None:
        self._books = books
        self._counting = counting
        self._evaluator = evaluator

    def look(self, session: Session, case: Case, at: datetime) -> Seen:
        """Everything that is known about the request, at that time."""
        request = case.request
        in_force = self._books.open(session)
        waivers = [
            Waiver(one.id, one.waives, one.rule)
            for one in in_force.waivers
            if one.until > at and one.scope.fits(request)
        ]
        questions = cases.questions(session, case.id) if case.stored else ()
        inputs: Mapping[str, Any] = request.inputs
        inputs_digest: str | None = None
        anything = in_force.policies or in_force.windows or in_force.quotas or request.question
        if anything or case.stored:
            inputs = judged(session, request, case.plan)
            inputs_digest = digest_of(request, case.plan, inputs)
        judgement = Judgement()
        hearing: Hearing | None = None
        forbidden: list[str] = []
        holds: list[Hold] = []
        shut: list[str] = []
        try:
            if in_force.policies or in_force.windows:
                find = partial(entities.find, session)
                hearing = Hearing(self._evaluator, find, **about_request(request, at, case.plan, inputs))
                judgement = judge(in_force.policies, hearing, waivers, planned=case.plan is not None)
                judgement, forbidden = _resolved(judgement, hearing, request)
        except Unclear as unclear:
            forbidden.append(f"no policy can judge this request: {unclear}")
        if request.question is not None:
            judgement = with_question(judgement, request.question.from_, request.question.because)
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
            quotas=self._counting.uses(session, request, inputs, in_force, waivers),
            forbidden=forbidden,
            shut=shut,
            holds=holds,
            asked=[one.asked for one in questions if not one.standing.review],
            plan_digest=case.plan_digest,
            inputs_digest=inputs_digest,
            break_glass=request.break_glass if case.state in (cases.SUBMITTED, cases.PLANNING) else None,
            actor=request.actor.id,
            groups=request.actor.groups,
        )
        return Seen(at, situation, questions, inputs, len(in_force.policies))


def _resolved(judgement: Judgement, hearing: Hearing, request: RequestSubmitted) -> tuple[Judgement, list[str]]:
    """The judgement with the people that are meant; and why somebody can't be asked."""
    requester, groups = request.actor.id, request.actor.groups
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
            asked = replace(one.ask, approvers=approvers, count=count, escalation=escalation)
            if hopeless := asked.hopeless(requester):
                raise Unclear(hopeless)
            wanted.append(replace(one, ask=asked))
        except Unclear as unclear:
            forbidden.append(f"policy {one.policy}: {unclear}")
    for glass in judgement.glasses if request.break_glass is not None else ():
        if not entitled(glass.breaking.by, requester, groups):
            continue
        try:
            reviewers = hearing.people(glass.breaking.reviewers)
            if hopeless := Ask(reviewers).hopeless(requester):
                raise Unclear(hopeless)
            glasses.append(replace(glass, breaking=replace(glass.breaking, reviewers=reviewers)))
        except Unclear as unclear:
            forbidden.append(f"policy {glass.policy}: {unclear}")
    return replace(judgement, wanted=tuple(wanted), glasses=tuple(glasses)), forbidden


def _let_through(case: Case, hold: Hold) -> bool:
    return any(one["kind"] == hold.kind and one["name"] == hold.name for one in case.overridden)
