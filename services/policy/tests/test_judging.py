"""The rules about rules: what is heard, what errors do, what is waived, what beats what."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from entresol_policy.domain.judging import (
    ALWAYS,
    WHEN,
    Ask,
    Breaking,
    Escalation,
    Glass,
    Judgement,
    Policy,
    Rule,
    Unclear,
    Waiver,
    judge,
)

SRE = Ask(("group:sre",), within=timedelta(hours=24))
BREAKING = Breaking(("group:sre",), ("group:security",), timedelta(days=3))


class Says:
    """Conditions are what they are called."""

    def each_holds(self, conditions: Sequence[str]) -> list[bool | Unclear]:
        unclear = Unclear("request.inputs has no field size", missing="request.inputs.size")
        return [unclear if one == "unclear" else one in ("yes", ALWAYS) for one in conditions]


def policy(*rules: Rule, when: str | None = None, mode: Any = "enforce", name: str = "p") -> Policy:
    looks = any(rule.looks_at_plan for rule in rules)
    return Policy(name, "sha256:aa", mode, when, rules, looks_at_plan=looks)


def judged(*policies: Policy, waivers: Sequence[Waiver] = (), planned: bool = False) -> Judgement:
    return judge(policies, Says(), waivers, planned=planned)


def outcome(judgement: Judgement) -> str:
    if judgement.denials:
        return "denied"
    return "waits" if judgement.wanted else "allowed"


DENY, ASK = Rule("deny", "yes", "no"), Rule(SRE, None, "people decide")


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], "allowed"),
        ([policy(Rule("deny", "no", "no"))], "allowed"),
        ([policy(DENY)], "denied"),
        ([policy(DENY, mode="audit")], "allowed"),
        ([policy(DENY, when="no")], "allowed"),
        ([policy(ASK)], "waits"),
        ([policy(ASK, mode="audit")], "allowed"),
        ([policy(ASK), policy(DENY)], "denied"),
        ([policy(DENY), policy(ASK)], "denied"),
        ([policy(Rule("deny", "unclear", "no"))], "denied"),
        ([policy(Rule("deny", "unclear", "no"), mode="audit")], "allowed"),
        ([policy(Rule(SRE, "unclear", None))], "denied"),
        ([policy(DENY, when="unclear")], "denied"),
        ([policy(DENY, when="unclear", mode="audit")], "allowed"),
        ([policy(DENY, mode="audit"), policy(ASK)], "waits"),
        ([policy(Rule(BREAKING, None, None))], "allowed"),
    ],
)
def test_what_policies_amount_to(policies: list[Policy], expected: str) -> None:
    assert outcome(judged(*policies)) == expected


def test_every_rule_is_heard_even_after_a_denial() -> None:
    judgement = judged(policy(DENY, Rule("deny", "no", "b"), name="a"), policy(ASK, name="b"))
    assert [(one.policy, one.rule, one.effect, one.matched) for one in judgement.verdicts] == [
        ("a", 0, "deny", True),
        ("a", 1, "deny", False),
        ("b", 0, "approve", True),
    ]


def test_a_policy_that_is_not_concerned_is_only_named() -> None:
    judgement = judged(policy(DENY, ASK, when="no"), policy(DENY, name="q", when="yes"))
    assert judgement.unconcerned == ("p",)
    assert [one.policy for one in judgement.verdicts] == ["q"]


def test_an_error_names_the_policy_the_rule_and_the_field() -> None:
    judgement = judged(policy(Rule("deny", "no", "a"), Rule("deny", "unclear", "b"), name="sizes"))
    assert judgement.denials == ("policy sizes, rule 1, can't be evaluated: request.inputs has no field size",)
    assert (judgement.verdicts[1].effect, judgement.verdicts[1].missing) == ("error", "request.inputs.size")
    assert not judgement.verdicts[1].matched


def test_an_unclear_condition_stands_for_the_whole_policy() -> None:
    (verdict,) = judged(policy(DENY, ASK, when="unclear")).verdicts
    assert (verdict.rule, verdict.effect) == (WHEN, "error")


def test_rules_about_the_plan_wait_for_it() -> None:
    looks = Rule("deny", "yes", "too much goes", looks_at_plan=True)
    before = judged(policy(looks, Rule("deny", "no", "b")))
    assert (outcome(before), before.to_plan_for) == ("allowed", ("p",))
    assert [one.rule for one in before.verdicts] == [1]
    assert outcome(judged(policy(looks), planned=True)) == "denied"
    assert judged(policy(looks, when="no")).to_plan_for == ()


@pytest.mark.parametrize(
    ("waiver", "denied"),
    [
        (Waiver("w", "Policy/p"), False),
        (Waiver("w", "Policy/p", 0), False),
        (Waiver("w", "Policy/p", 1), True),
        (Waiver("w", "Policy/q"), True),
        (Waiver("w", "Quota/p"), True),
    ],
)
def test_a_waiver_takes_away_what_it_names_and_nothing_else(waiver: Waiver, denied: bool) -> None:
    judgement = judged(policy(DENY), waivers=[waiver])
    assert bool(judgement.denials) == denied
    assert judgement.verdicts[0].matched, "what the rule says is recorded all the same"
    assert judgement.verdicts[0].waived_by == (None if denied else "w")


def test_a_waived_question_is_not_asked_and_a_waived_error_does_not_deny() -> None:
    assert judged(policy(ASK), waivers=[Waiver("w", "Policy/p")]).wanted == ()
    assert judged(policy(Rule("deny", "unclear", "x")), waivers=[Waiver("w", "Policy/p")]).denials == ()


@pytest.mark.parametrize(
    ("condition", "mode", "number"), [(None, "enforce", 1), ("no", "enforce", 0), (None, "audit", 0)]
)
def test_a_glass_can_be_broken_where_the_rule_holds(condition: str | None, mode: str, number: int) -> None:
    judgement = judged(policy(Rule(BREAKING, condition, None), mode=mode))
    assert judgement.glasses == (Glass("p", BREAKING),) * number
    assert judgement.verdicts == ()


def test_a_rule_that_is_unusable_denies() -> None:
    assert judged(policy(Rule("deny", None, None, unusable="soon is no length of time"))).denials == (
        "policy p, rule 0, can't be evaluated: soon is no length of time",
    )


GROUP, LATER = ("group:sre",), Escalation(timedelta(hours=1), ("user:bob",))
ADA, BOTH = ("user:ada",), ("user:ada", "user:bob")


@pytest.mark.parametrize(
    ("ask", "hopeless"),
    [
        (Ask(GROUP, count=9), False),
        (Ask(ADA), True),
        (Ask(ADA, not_self=False), False),
        (Ask(BOTH), False),
        (Ask(BOTH, count=2), True),
        (Ask((*BOTH, *GROUP), count=2), False),
        (Ask(("user:bob",), count=2), True),
        (Ask(ADA, escalation=LATER), False),
        (Ask(ADA, count=2, escalation=LATER), True),
        (Ask(ADA, count=2, escalation=replace(LATER, to=GROUP)), False),
        (Ask(BOTH, all=True), True),
        (Ask((*ADA, *GROUP), all=True), True),
        (Ask((*ADA, *GROUP), all=True, escalation=LATER), False),
        (Ask(BOTH, all=True, not_self=False), False),
        (Ask(BOTH, all=True, escalation=replace(LATER, to=("user:eve",))), False),
    ],
)
def test_what_too_few_could_ever_grant_is_known_beforehand(ask: Ask, hopeless: bool) -> None:
    assert (ask.hopeless("user:ada") is not None) == hopeless
