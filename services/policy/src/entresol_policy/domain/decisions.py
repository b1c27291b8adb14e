"""What follows from everything that is known about a request: one of deny, plan, ask, hold, allow.

The order is: what forbids it; the plan, if somebody looks at it; the people who have to agree; what holds it for now.
A request is examined as often as something changes, and each time from the beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from entresol_policy.domain.judging import Ask, Glass, Judgement, Wanted
from entresol_policy.domain.quotas import Use
from entresol_policy.domain.scopes import entitled

STANDING = frozenset({"pending", "granted"})
"""States in which a question still says something about the request."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A lock or window that does not let the request begin yet."""

    kind: Literal["lock", "window"]
    name: str
    """The lock's id, or the window's name."""
    because: str
    by: str | None = None
    until: datetime | None = None
    override: tuple[str, ...] = ()
    """Who may let the request through, with a reason."""

    def words(self) -> str:
        placed = f" by {self.by}" if self.by else ""
        return f"{self.kind} {self.name}{placed}: {self.because}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to people about the request, as far as matching it needs."""

    id: str
    policy: str
    ask: Ask
    plan_digest: str | None
    state: str
    inputs_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that is known about a request when it is examined."""

    judgement: Judgement
    quotas: Sequence[Use] = ()
    forbidden: Sequence[str] = ()
    """What else forbids it: what can't be evaluated, or nobody can be asked."""
    shut: Sequence[str] = ()
    """Why no window lets it begin if it begins now, nor later. Judged when nothing else is in the way."""
    holds: Sequence[Hold] = ()
    asked: Sequence[Asked] = ()
    plan_digest: str | None = None
    inputs_digest: str | None = None
    """Of what it was judged by, as far as the plan does not say it."""
    break_glass: str | None = None
    actor: str = ""
    groups: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanFirst:
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskPeople:
    """Open these questions, close those; the request waits for the ones that are open."""

    open: tuple[Wanted, ...]
    close: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HoldOn:
    holds: tuple[Hold, ...]
    close: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Allow:
    approvals: tuple[str, ...]
    close: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BreakGlass:
    glass: Glass
    bypassed: tuple[str, ...]
    """What stood in the way, one line each."""


Decision: TypeAlias = Deny | PlanFirst | AskPeople | HoldOn | Allow | BreakGlass


def decide(situation: Situation) -> Decision:
    """What follows. A request is denied rather than let through wherever it can't be said."""
    judgement = situation.judgement
    denials = (
        *judgement.denials,
        *(denial for one in situation.quotas if (denial := one.denial) is not None),
        *situation.forbidden,
    )
    plan_first = judgement.to_plan_for if situation.plan_digest is None else ()
    missing, kept = _matched(judgement.wanted, situation)
    close = tuple(one.id for one in situation.asked if one.state == "pending" and one not in kept)
    waits = [one for one in kept if one.state == "pending"]
    if situation.break_glass is not None and (glass := _entitled(situation)) is not None:
        bypassed = (
            *denials,
            *(f"policy {name} looks at the plan" for name in plan_first),
            *(f"policy {one.policy} asks {', '.join(one.ask.approvers)}" for one in (*missing, *_asks(waits))),
            *situation.shut,
            *(one.words() for one in situation.holds),
        )
        if bypassed:
            return BreakGlass(glass, bypassed)
    if denials:
        return Deny(denials)
    if plan_first:
        return PlanFirst(plan_first)
    if missing or waits:
        return AskPeople(tuple(missing), close)
    locks = [one for one in situation.holds if one.kind == "lock"]
    if situation.shut and not locks:
        return Deny(tuple(situation.shut))
    if situation.holds:
        return HoldOn(tuple(situation.holds), close)
    return Allow(tuple(one.id for one in kept), close)


def _matched(wanted: Sequence[Wanted], situation: Situation) -> tuple[list[Wanted], list[Asked]]:
    """What nobody was asked yet, and the questions that stand: about this plan and these inputs, of the same people by
    the same rule.

    A question that was closed stands for nothing: nobody granted it.
    """
    now = (situation.plan_digest, situation.inputs_digest)
    left = [one for one in situation.asked if (one.plan_digest, one.inputs_digest) == now and one.state in STANDING]
    missing: list[Wanted] = []
    kept: list[Asked] = []
    for want in wanted:
        found = next((one for one in left if one.policy == want.policy and _same(one.ask, want.ask)), None)
        if found is None:
            missing.append(want)
        else:
            left.remove(found)
            kept.append(found)
    return missing, kept


def _same(one: Ask, other: Ask) -> bool:
    """Times don't count: a question that is open keeps its own."""
    return (one.approvers, one.count, one.all, one.not_self) == (
        other.approvers,
        other.count,
        other.all,
        other.not_self,
    )


def _asks(asked: Sequence[Asked]) -> list[Wanted]:
    return [Wanted(one.policy, one.ask, None) for one in asked]


def _entitled(situation: Situation) -> Glass | None:
    return next(
        (one for one in situation.judgement.glasses if entitled(one.breaking.by, situation.actor, situation.groups)),
        None,
    )
