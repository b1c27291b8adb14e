"""Hold a request against the policies in force.

- Every rule of every policy is heard, also after one has denied, so that a verdict explains everything at once.
- A condition that can't be evaluated denies where the policy is enforced, and is only recorded where it audits.
- Deny beats approve. Where no rule stands in the way, the request is allowed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

Effect: TypeAlias = Literal["deny", "approve", "error"]
Mode: TypeAlias = Literal["enforce", "audit"]
Condition: TypeAlias = Callable[[Any], bool]
"""Says of a request's scope whether it holds; raises Unclear where it can't say."""

WHEN = -1
"""The place of a policy's own condition among its rules."""


class Unclear(Exception):
    """A condition could not be evaluated; the text says which field was missing or of which wrong type."""

    def __init__(self, reason: str, missing: str | None = None) -> None:
        super().__init__(reason)
        self.missing = missing
        """The field that was not there, such as `request.inputs.size`; None if it is something else."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Whom an approve-rule asks."""

    approvers: tuple[str, ...]
    """`user:…` or `group:…`."""
    count: int
    within: timedelta
    not_self: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: it denies, or it asks people."""

    effect: Literal["deny", "approve"]
    holds: Condition | None
    """None: always."""
    because: str | None
    ask: Ask | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one policy, as they are in force."""

    name: str
    version: str
    mode: Mode
    when: Condition | None
    rules: tuple[Rule, ...]


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """An approval that a rule asks for."""

    policy: str
    ask: Ask
    because: str | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all policies together say."""

    verdicts: tuple[Verdict, ...]
    denials: tuple[str, ...]
    """Why it is denied; empty if it is not."""
    wanted: tuple[Wanted, ...]
    """What people are asked for; empty if it is denied."""


def judge(policies: Iterable[Policy], scope: object) -> Judgement:
    """Hear every rule about a request whose variables are `scope`."""
    verdicts: list[Verdict] = []
    denials: list[str] = []
    wanted: list[Wanted] = []
    for policy in policies:
        for verdict, rule in _hear(policy, scope):
            verdicts.append(verdict)
            if policy.mode == "audit":
                continue
            if verdict.effect == "error":
                denials.append(f"policy {policy.name}{_place(verdict.rule)} can't be evaluated: {verdict.because}")
            elif verdict.matched and rule is not None:
                if rule.ask is not None:
                    wanted.append(Wanted(policy.name, rule.ask, rule.because))
                else:
                    denials.append(rule.because or f"policy {policy.name} forbids it")
    return Judgement(tuple(verdicts), tuple(denials), () if denials else tuple(wanted))


def _hear(policy: Policy, scope: object) -> Iterable[tuple[Verdict, Rule | None]]:
    def verdict(rule: int, effect: Effect, matched: bool, because: str | None) -> Verdict:
        return Verdict(policy.name, policy.version, rule, effect, policy.mode, matched, because)

    try:
        concerned = policy.when is None or policy.when(scope)
    except Unclear as unclear:
        yield verdict(WHEN, "error", False, str(unclear)), None
        return
    if not concerned:
        effect = policy.rules[0].effect if policy.rules else "deny"
        yield verdict(WHEN, effect, False, None), None
        return
    for position, rule in enumerate(policy.rules):
        try:
            matched = rule.holds is None or rule.holds(scope)
        except Unclear as unclear:
            yield verdict(position, "error", False, str(unclear)), None
        else:
            yield verdict(position, rule.effect, matched, rule.because), rule


def _place(rule: int) -> str:
    return ", its `when`," if rule == WHEN else f", rule {rule},"
