"""Hold drafts of policies against requests that were decided long ago, and say which decisions would be others.

The recorded verdicts of every other policy stay as they are, and so do reasons that no policy gave: quotas, windows,
a broken glass. A request counts once, with the decision that ended its examination for the first time; one that people
were asked about counts as asked about, whatever they said.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from entresol_contracts.events import RequestSubmitted, RunPlanned
from entresol_eventing.envelope import types_by_name
from pydantic import ValidationError

from entresol_policy.domain.judging import Judgement, Policy, Unclear, Verdict, Wanted, judge
from entresol_policy.domain.questions import BUILT_IN
from entresol_policy.evaluation import Evaluator
from entresol_policy.hearing import Hearing, about_request
from entresol_policy.trying.past import BACKGROUND, Past

Document = Mapping[str, Any]

ALLOWED, DENIED, APPROVAL, OTHERS, PLAN, GLASS = (
    "allowed",
    "denied",
    "approval",
    "approval by others",
    "plan first (unknown)",
    "broken glass",
)
REQUESTS: Final = (
    "request.submitted",
    "run.planned",
    "approval.requested",
    "approval.rejected",
    "approval.expired",
    "request.allowed",
    "request.denied",
    "request.cancelled",
    "run.failed",
    "run.cancelled",
)
"""What a replay has to hear of requests."""


@dataclass(frozen=True, slots=True)
class Change:
    """A request that would have been decided otherwise."""

    request: str
    at: datetime
    resource: str
    actor: str
    was: str
    would_be: str
    because: tuple[str, ...]


@dataclass(slots=True)
class Totals:
    requests: int = 0
    """That were decided."""
    earliest: datetime | None = None
    """When the first of them was submitted: the log may be shorter than what was asked for."""
    unchanged: int = 0
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By what they were and what they would be."""
    errors: int = 0
    """For which a rule of a draft can't be evaluated; enforced, it denies."""
    unreadable: int = 0
    """That were not looked at, because what was recorded does not fit the contract."""


@dataclass(slots=True)
class _Open:
    """A request that is not decided yet."""

    request: Document
    plan: Document | None = None
    asked: list[Document] = field(default_factory=list)
    asked_at: datetime | None = None


class Replay:
    """Hears events in the order of the log. Keeps requests only for as long as they are open.

    `since`: requests that were submitted before are left out.
    """

    def __init__(self, drafts: Sequence[Policy], evaluator: Evaluator, since: datetime) -> None:
        self.totals = Totals()
        self._drafts = drafts
        self._names = frozenset(one.name for one in drafts)
        self._evaluator = evaluator
        self._since = since
        self._past = Past()
        self._open: dict[str, _Open] = {}

    def hear(self, event: Document) -> Change | None:
        """Take in one event of REQUESTS or BACKGROUND; return the change if it decided a request otherwise."""
        known = types_by_name().get(event["type"])
        fact, data = known.fact if known else "", event["data"]
        if fact == "request.submitted":
            submitted_at = datetime.fromisoformat(event["time"])
            if submitted_at >= self._since:
                self.totals.earliest = self.totals.earliest or submitted_at
                self._open[data["request_id"]] = _Open(data)
            return None
        if fact in BACKGROUND:
            self._past.hear(fact, data)
            return None
        case = self._open.get(data.get("request_id", ""))
        if case is None or data.get("review"):
            return None
        match fact:
            case "run.planned":
                case.plan = data
            case "approval.requested":
                case.asked.append(data)
                case.asked_at = case.asked_at or datetime.fromisoformat(event["time"])
            case "request.allowed" | "request.denied":
                del self._open[data["request_id"]]
                return self._compare(case, data, datetime.fromisoformat(event["time"]))
            case _:
                del self._open[data["request_id"]]
                return self._as_asked(case)
        return None

    def finish(self) -> Iterator[Change]:
        """The changes among the requests that people are still asked about."""
        while self._open:
            _, case = self._open.popitem()
            if change := self._as_asked(case):
                yield change

    def _as_asked(self, case: _Open) -> Change | None:
        """Compare what people were asked; None for a request about which nothing was ever decided."""
        if case.asked_at is None:
            return None
        return self._compare(case, case.asked[-1], case.asked_at)

    def _compare(self, case: _Open, decision: Document, at: datetime) -> Change | None:
        try:
            request = RequestSubmitted.model_validate(case.request)
            plan = None if case.plan is None else RunPlanned.model_validate(case.plan)
            verdicts = [_read(one) for one in decision.get("verdicts") or ()]
        except (ValidationError, KeyError):
            self.totals.unreadable += 1
            return None
        self.totals.requests += 1
        was = _outcome(decision, verdicts)
        would_be, reasons = self._judge(request, plan, at, decision, verdicts, case.asked)
        if was == GLASS or would_be == was:
            self.totals.unchanged += 1
            return None
        self.totals.changed[was, would_be] += 1
        return Change(request.request_id, at, request.resource_id, request.actor.id, was, would_be, tuple(reasons))

    def _judge(
        self,
        request: RequestSubmitted,
        plan: RunPlanned | None,
        at: datetime,
        decision: Document,
        verdicts: Sequence[Verdict],
        asked: Sequence[Document],
    ) -> tuple[str, Sequence[str]]:
        """What would follow from the drafts and the others' verdicts, and why."""
        inputs = self._past.inputs(request, plan)
        hearing = Hearing(self._evaluator, self._past.find, **about_request(request, at, plan, inputs))
        waivers = self._past.waivers(request, at)
        judgement = judge(self._drafts, hearing, waivers, planned=plan is not None)
        self.totals.errors += any(one.effect == "error" for one in judgement.verdicts)
        others = [one for one in verdicts if not self._drafted(one) and one.counts]
        wanted, nobody = _people(judgement, hearing)
        denials = [
            *judgement.denials,
            *nobody,
            *(one.words() for one in others if one.effect != "approve"),
            *_beside_policies(decision, verdicts),
        ]
        if denials:
            return DENIED, denials
        if judgement.to_plan_for and plan is None:
            return PLAN, [f"policy {name} looks at the plan" for name in judgement.to_plan_for]
        if wanted and self._questions(asked) not in (None, _asks(wanted)):
            return OTHERS, [f"policy {one.policy} asks {', '.join(one.ask.approvers)}" for one in wanted]
        if wanted or any(one.effect == "approve" for one in others):
            return APPROVAL, [one.because or f"policy {one.policy} asks" for one in wanted]
        return ALLOWED, [f"no more: {one.words()}" for one in verdicts if self._drafted(one) and one.counts]

    def _drafted(self, verdict: Verdict) -> bool:
        """Whether a draft takes the place of what said it. Nothing does of the question that a request brings along."""
        return verdict.policy in self._names and verdict.version != BUILT_IN

    def _questions(self, asked: Sequence[Document]) -> set[tuple[Any, ...]] | None:
        """What the drafts' former selves asked of whom; None if they asked nobody."""
        mine = (one for one in asked if one["policy"] in self._names)
        return {
            (one["policy"], frozenset(one["approvers"]), one["count"], bool(one.get("all"))) for one in mine
        } or None


def _asks(wanted: Sequence[Wanted]) -> set[tuple[Any, ...]]:
    return {(one.policy, frozenset(one.ask.approvers), one.ask.count, one.ask.all) for one in wanted}


def _people(judgement: Judgement, hearing: Hearing) -> tuple[list[Wanted], list[str]]:
    """What is asked of the people that are meant; and why somebody can't be asked, which denies."""
    wanted: list[Wanted] = []
    nobody: list[str] = []
    for one in judgement.wanted:
        try:
            approvers = hearing.people(one.ask.approvers)
        except Unclear as unclear:
            nobody.append(f"policy {one.policy}: {unclear}")
        else:
            count = len(approvers) if one.ask.all else one.ask.count
            wanted.append(replace(one, ask=replace(one.ask, approvers=approvers, count=count)))
    return wanted, nobody


def _outcome(decision: Document, verdicts: Sequence[Verdict]) -> str:
    if decision.get("glass_broken"):
        return GLASS
    if "because" in decision and "approval_id" not in decision:
        return DENIED
    asks = "approval_id" in decision or any(one.counts and one.effect == "approve" for one in verdicts)
    return APPROVAL if asks else ALLOWED


def _beside_policies(decision: Document, verdicts: Sequence[Verdict]) -> list[str]:
    """Why it was denied as far as no policy said so: quotas, and windows that never open."""
    if "approval_id" in decision or "because" not in decision:
        return []
    said = {one.words() for one in verdicts if one.counts}
    return [one for one in decision["because"] if one not in said]


def _read(told: Document) -> Verdict:
    return Verdict(
        policy=told["policy"],
        version=told["version"],
        rule=told["rule"],
        effect=told["effect"],
        mode=told["mode"],
        matched=told["matched"],
        because=told.get("because"),
        missing=told.get("missing"),
        waived_by=told.get("waived_by"),
    )
