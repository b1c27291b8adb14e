"""Hold a request against the policies in force.

- Every rule of every concerned policy is heard, also after one has denied, so that the verdicts explain everything.
- A condition that can't be evaluated denies where the policy is enforced, and is only recorded where it audits.
- A rule that looks at the plan is not heard before there is one.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain
from typing import Final, Literal, Protocol, TypeAlias

Effect: TypeAlias = Literal["deny", "approve", "error"]
Mode: TypeAlias = Literal["enforce", "audit"]

WHEN = -1
"""The place of a policy's own condition among its rules."""
ALWAYS: Final = "true"
"""The condition of what has none."""


class Unclear(Exception):
    """A condition could not be evaluated; the text says which field was missing or of which wrong type."""

    def __init__(self, reason: str, missing: str | None = None) -> None:
        super().__init__(reason)
        self.missing = missing
        """The field that was not there, such as `request.inputs.size`; None if it is something else."""


class Hearing(Protocol):
    """Says of conditions whether they hold for the request that is judged."""

    def each_holds(self, conditions: Sequence[str]) -> list[bool | Unclear]:
        """In their order; Unclear where it can't be said."""
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

    def hopeless(self, requester: str) -> str | None:
        """Why it can never be granted, whatever anybody says; None if it may be. Nobody knows who is in a group."""
        later = self.escalation.to if self.escalation else ()
        asked = tuple(dict.fromkeys((*self.approvers, *later)))
        out = self.not_self and requester in asked
        wanted = len(self.approvers) if self.all else self.count
        people = len(asked) - out
        alone = self.all and out and requester in self.approvers and not later
        if not alone and (people >= wanted or any(one.startswith("group:") for one in asked)):
            return None
        own = f", and {requester} asked for it" if out else ""
        return f"nobody can be asked: {wanted} of {', '.join(asked)} would have to agree{own}"


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


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What one rule said. Most are made once and said again and again, so who remembers one does it by identity."""

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
class Heard:
    """The rules of a policy that are heard together, and what they say if none of them holds."""

    rules: tuple[tuple[int, Rule], ...]
    """With their places in the policy."""
    conditions: tuple[str, ...]
    passes: tuple[Verdict, ...]


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
    heard: tuple[Heard, Heard] = field(init=False, repr=False, compare=False)
    """Before there is a plan, and with one. Made once, since most rules say most of the time that they don't hold."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "heard", (self._heard(planned=False), self._heard(planned=True)))

    def _heard(self, *, planned: bool) -> Heard:
        rules = tuple(one for one in enumerate(self.rules) if planned or not one[1].looks_at_plan)
        return Heard(
            rules,
            tuple(rule.condition or ALWAYS for _, rule in rules),
            tuple(self.says(*one, matched=False) for one in rules if not isinstance(one[1].does, Breaking)),
        )

    def says(self, position: int, rule: Rule, *, matched: bool) -> Verdict:
        effect: Effect = "deny" if rule.does == "deny" else "approve"
        return Verdict(self.name, self.version, position, effect, self.mode, matched, rule.because)


@dataclass(frozen=True, slots=True)
class Waiver:
    """A policy, or one rule of it, that does not hold for the request."""

    id: str
    waives: str
    """Kind/name."""
    rule: int | None = None


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
    denials: tuple[str, ...] = ()
    """Why it is denied; empty if it is not."""


def judge(
    policies: Sequence[Policy], hearing: Hearing, waivers: Collection[Waiver] = (), *, planned: bool = False
) -> Judgement:
    """Hear every rule about the request; those about its plan only if it is `planned`."""
    concerned, unconcerned, unclear = _sort(policies, hearing)
    errors = [_unclear(policy, WHEN, reason, waivers) for policy, reason in unclear]
    verdicts, objections = [*errors], [*errors]
    wanted: list[Wanted] = []
    glasses: list[Glass] = []
    heard = [policy.heard[planned] for policy in concerned]
    answers = hearing.each_holds(list(chain.from_iterable(one.conditions for one in heard)))
    end = 0
    for policy, its in zip(concerned, heard, strict=True):
        begin, end = end, end + len(its.rules)
        said = answers[begin:end]
        if not any(said):
            verdicts += its.passes
            continue
        for (position, rule), matched in zip(its.rules, said, strict=True):
            does = rule.does
            if rule.unusable is not None:
                matched = Unclear(rule.unusable)
            if isinstance(matched, Unclear):
                verdicts.append(_unclear(policy, position, matched, waivers))
                objections.append(verdicts[-1])
            elif not isinstance(does, Breaking):
                verdicts.append(_waived(policy.says(position, rule, matched=matched), waivers))
                if does == "deny":
                    objections.append(verdicts[-1])
                elif verdicts[-1].counts:
                    wanted.append(Wanted(policy.name, does, rule.because))
            elif matched and policy.mode == "enforce":
                glasses.append(Glass(policy.name, does))
    return Judgement(
        verdicts=tuple(verdicts),
        wanted=tuple(wanted),
        glasses=tuple(glasses),
        to_plan_for=tuple(one.name for one in concerned if one.looks_at_plan),
        unconcerned=tuple(unconcerned),
        denials=tuple(one.words() for one in objections if one.counts),
    )


def _sort(policies: Sequence[Policy], hearing: Hearing) -> tuple[list[Policy], list[str], list[tuple[Policy, Unclear]]]:
    """Which policies are concerned, the names of those that are not, and those of which it can't be said."""
    concerned: list[Policy] = []
    unconcerned: list[str] = []
    unclear: list[tuple[Policy, Unclear]] = []
    answers = hearing.each_holds([one.when or ALWAYS for one in policies])
    for policy, answer in zip(policies, answers, strict=True):
        if policy.unusable is not None:
            unclear.append((policy, Unclear(policy.unusable)))
        elif isinstance(answer, Unclear):
            unclear.append((policy, answer))
        elif answer:
            concerned.append(policy)
        else:
            unconcerned.append(policy.name)
    return concerned, unconcerned, unclear


def _unclear(policy: Policy, rule: int, unclear: Unclear, waivers: Collection[Waiver]) -> Verdict:
    verdict = Verdict(
        policy.name, policy.version, rule, "error", policy.mode, False, str(unclear), missing=unclear.missing
    )
    return _waived(verdict, waivers)


def _waived(verdict: Verdict, waivers: Collection[Waiver]) -> Verdict:
    if waivers and verdict.counts:
        for waiver in _about(verdict.policy, waivers):
            if waiver.rule in (None, verdict.rule):
                return replace(verdict, waived_by=waiver.id)
    return verdict


def _about(policy: str, waivers: Collection[Waiver]) -> Iterator[Waiver]:
    return (one for one in waivers if one.waives == f"Policy/{policy}")
