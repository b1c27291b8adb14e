"""Hold a request against the policies in force.

- Every rule of every concerned policy is heard, also after one has denied, so that the verdicts explain everything.
- A condition that can't be evaluated denies where the policy is enforced, and is only recorded where it audits.
- A rule that looks at the plan is not heard before there is one.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, Protocol, TypeAlias

Effect: TypeAlias = Literal["deny", "approve", "error"]
Mode: TypeAlias = Literal["enforce", "audit"]

WHEN = -1
"""The place of a policy's own condition among its rules."""


class Unclear(Exception):
    """A condition could not be evaluated; the text says which field was missing or of which wrong type."""

    def __init__(self, reason: str, missing: str | None = None) -> None:
        super().__init__(reason)
        self.missing = missing
        """The field that was not there, such as `request.inputs.size`; None if it is something else."""


class Hearing(Protocol):
    """Says of conditions whether they hold for the request that is judged."""

    def holds(self, condition: str) -> bool:
        """Raise Unclear where it can't be said."""
        ...

    def each_holds(self, conditions: Sequence[str]) -> list[bool | Unclear]:
        """The same for many at once, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Escalation:
    """Who may answer too, if nobody did."""

    after: timedelta
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Whom an approve-rule asks. Approvers may hold `${…}` and `owner:…` until they are resolved for a request."""

    approvers: tuple[str, ...]
    count: int = 1
    all: bool = False
    """Each of the approvers has to grant."""
    within: timedelta = timedelta(days=1)
    not_self: bool = True
    remind: timedelta | None = None
    escalation: Escalation | None = None


@dataclass(frozen=True, slots=True)
class Breaking:
    """Who may go past everything with a reason, and who looks at it afterwards."""

    by: tuple[str, ...]
    reviewers: tuple[str, ...]
    within: timedelta


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: it denies, asks people, or lets somebody break the glass."""

    does: Literal["deny"] | Ask | Breaking
    condition: str | None
    """None: always."""
    because: str | None
    looks_at_plan: bool = False
    unusable: str | None = None
    """Why it can never be evaluated."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one policy, as they are in force."""

    name: str
    version: str
    mode: Mode
    when: str | None
    rules: tuple[Rule, ...]
    looks_at_plan: bool = False
    unusable: str | None = None
    """Why none of it can be evaluated."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """A policy, or one rule of it, that does not hold for the request."""

    id: str
    waives: str
    """Kind/name."""
    rule: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule said."""

    policy: str
    version: str
    rule: int
    effect: Effect
    mode: Mode
    matched: bool
    because: str | None
    missing: str | None = None
    waived_by: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it stands in the way of the request."""
        objects = self.matched or self.effect == "error"
        return objects and self.mode == "enforce" and self.waived_by is None

    def words(self) -> str:
        """Why it stands in the way, for the person who asked."""
        if self.effect == "error":
            place = ", its `when`," if self.rule == WHEN else f", rule {self.rule},"
            return f"policy {self.policy}{place} can't be evaluated: {self.because}"
        return self.because or f"policy {self.policy} forbids it"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An approval that a rule asks for."""

    policy: str
    ask: Ask
    because: str | None


@dataclass(frozen=True, slots=True)
class Glass:
    """A rule that lets somebody break the glass."""

    policy: str
    breaking: Breaking


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all policies together say."""

    verdicts: tuple[Verdict, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    """What people are asked for, unless it is denied."""
    glasses: tuple[Glass, ...] = ()
    to_plan_for: tuple[str, ...] = ()
    """Concerned policies that look at the plan."""
    unconcerned: tuple[str, ...] = ()

    @property
    def denials(self) -> tuple[str, ...]:
        """Why it is denied; empty if it is not."""
        return tuple(one.words() for one in self.verdicts if one.counts and one.effect != "approve")


def judge(
    policies: Sequence[Policy], hearing: Hearing, waivers: Collection[Waiver] = (), *, planned: bool = False
) -> Judgement:
    """Hear every rule about the request; those about its plan only if it is `planned`."""
    conditions = [one.when for one in policies if one.when is not None]
    answers = iter(hearing.each_holds(conditions) if conditions else ())
    verdicts: list[Verdict] = []
    wanted: list[Wanted] = []
    glasses: list[Glass] = []
    to_plan_for: list[str] = []
    unconcerned: list[str] = []
    for policy in policies:
        concerned = True if policy.when is None else next(answers)
        if policy.unusable is not None:
            concerned = Unclear(policy.unusable)
        if concerned is False:
            unconcerned.append(policy.name)
            continue
        if isinstance(concerned, Unclear):
            verdicts.append(_waived(_verdict(policy, WHEN, "error", concerned), waivers))
            continue
        if policy.looks_at_plan:
            to_plan_for.append(policy.name)
        for verdict, rule in _hear(policy, hearing, planned=planned):
            if isinstance(rule.does, Breaking):
                if verdict.matched and policy.mode == "enforce":
                    glasses.append(Glass(policy.name, rule.does))
                continue
            verdict = _waived(verdict, waivers)
            verdicts.append(verdict)
            if verdict.counts and verdict.effect == "approve" and isinstance(rule.does, Ask):
                wanted.append(Wanted(policy.name, rule.does, rule.because))
    return Judgement(tuple(verdicts), tuple(wanted), tuple(glasses), tuple(to_plan_for), tuple(unconcerned))


def _hear(policy: Policy, hearing: Hearing, *, planned: bool) -> Iterable[tuple[Verdict, Rule]]:
    for position, rule in enumerate(policy.rules):
        if rule.looks_at_plan and not planned:
            continue
        try:
            if rule.unusable is not None:
                raise Unclear(rule.unusable)
            matched = rule.condition is None or hearing.holds(rule.condition)
        except Unclear as unclear:
            yield _verdict(policy, position, "error", unclear), rule
        else:
            effect: Effect = "deny" if rule.does == "deny" else "approve"
            yield Verdict(policy.name, policy.version, position, effect, policy.mode, matched, rule.because), rule


def _verdict(policy: Policy, rule: int, effect: Effect, unclear: Unclear) -> Verdict:
    return Verdict(policy.name, policy.version, rule, effect, policy.mode, False, str(unclear), unclear.missing)


def _waived(verdict: Verdict, waivers: Collection[Waiver]) -> Verdict:
    if waivers and verdict.counts:
        for waiver in _about(verdict.policy, waivers):
            if waiver.rule in (None, verdict.rule):
                return replace(verdict, waived_by=waiver.id)
    return verdict


def _about(policy: str, waivers: Collection[Waiver]) -> Iterator[Waiver]:
    return (one for one in waivers if one.waives == f"Policy/{policy}")
