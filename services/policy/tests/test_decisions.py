"""What follows from what is known: the order of things, which questions stand, when a glass is broken."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
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
from entresol_policy.domain.judging import Ask, Breaking, Glass, Judgement, Verdict, Wanted
from entresol_policy.domain.quotas import Use

SRE = Ask(("group:sre",))
WANTED = Wanted("production", SRE, "two pairs of eyes")
DENIAL = Verdict("sizes", "sha256:aa", 0, "deny", "enforce", True, "too large")
LOCK = Hold("lock", "l1", "a migration", by="user:ada")
FULL = Use("databases", "shop", 3, 1, 3, None)
GLASS = Glass("emergencies", Breaking(("group:oncall",), ("group:security",), timedelta(days=3)))


def asked(state: str = "pending", plan: str | None = None, ask: Ask = SRE, policy: str = "production") -> Asked:
    return Asked("a1", policy, ask, plan, state)


def situation(
    *, deny: bool = False, ask: bool = False, plan: bool = False, glass: bool = False, **known: Any
) -> Situation:
    judgement = Judgement(
        verdicts=(DENIAL,) if deny else (),
        denials=(DENIAL.words(),) if deny else (),
        wanted=(WANTED,) if ask else (),
        glasses=(GLASS,) if glass else (),
        to_plan_for=("no-deletes",) if plan else (),
    )
    return Situation(judgement, actor="user:grace", groups=("oncall",), **known)


@pytest.mark.parametrize(
    ("known", "decision"),
    [
        (situation(), Allow((), ())),
        (situation(deny=True, ask=True, plan=True, holds=[LOCK]), Deny(("too large",))),
        (situation(quotas=[FULL], plan=True), Deny(("quota databases for shop: 3 of 3 used, 1 asked",))),
        (situation(forbidden=["it never opens"]), Deny(("it never opens",))),
        (situation(plan=True, ask=True, holds=[LOCK]), PlanFirst(("no-deletes",))),
        (situation(plan=True, plan_digest="p1"), Allow((), ())),
        (situation(ask=True, holds=[LOCK]), AskPeople((WANTED,), ())),
        (situation(ask=True, asked=[asked()], holds=[LOCK]), AskPeople((), ())),
        (situation(ask=True, asked=[asked("granted")], holds=[LOCK]), HoldOn((LOCK,), ())),
        (situation(ask=True, asked=[asked("granted")]), Allow(("a1",), ())),
        (situation(asked=[asked()]), Allow((), ("a1",))),
        (situation(asked=[asked("granted")]), Allow((), ())),
    ],
    ids=range(12),
)
def test_the_order_of_things(known: Situation, decision: Decision) -> None:
    assert decide(known) == decision


def test_a_grant_for_one_plan_is_none_for_another() -> None:
    known = situation(ask=True, plan=True, plan_digest="p2", asked=[asked("granted", plan="p1")])
    assert decide(known) == AskPeople((WANTED,), ())
    assert decide(replace(known, plan_digest="p1")) == Allow(("a1",), ())


def test_a_question_about_an_older_plan_is_closed() -> None:
    known = situation(ask=True, plan_digest="p2", asked=[asked(plan="p1")])
    assert decide(known) == AskPeople((WANTED,), ("a1",))


@pytest.mark.parametrize(
    ("ask", "stands"),
    [
        (SRE, True),
        (replace(SRE, within=timedelta(hours=1), remind=timedelta(minutes=5)), True),
        (replace(SRE, approvers=("group:data",)), False),
        (replace(SRE, count=2), False),
        (replace(SRE, not_self=False), False),
        (replace(SRE, all=True), False),
    ],
)
def test_a_question_stands_as_long_as_the_same_people_are_asked(ask: Ask, stands: bool) -> None:
    found = decide(situation(ask=True, asked=[asked(ask=ask)]))
    assert found == (AskPeople((), ()) if stands else AskPeople((WANTED,), ("a1",)))


@pytest.mark.parametrize("state", ["closed", "expired", "rejected"])
def test_a_question_that_nobody_granted_is_asked_again(state: str) -> None:
    assert decide(situation(ask=True, asked=[asked(state)])) == AskPeople((WANTED,), ())
    assert decide(situation(ask=True, asked=[asked(state), asked("granted")])) == Allow(("a1",), ())


def test_two_rules_that_ask_alike_need_two_grants() -> None:
    known = replace(situation(asked=[asked("granted")]), judgement=Judgement(wanted=(WANTED, WANTED)))
    assert decide(known) == AskPeople((WANTED,), ())


@pytest.mark.parametrize(
    "obstacles",
    [{"deny": True}, {"ask": True}, {"plan": True}, {"holds": [LOCK]}, {"quotas": [FULL]}, {"forbidden": ["never"]}],
    ids=str,
)
def test_a_glass_is_broken_only_for_a_reason_and_by_whom_a_rule_names(obstacles: dict[str, Any]) -> None:
    known = situation(glass=True, break_glass="the shop is down", **obstacles)
    decision = decide(known)
    assert isinstance(decision, BreakGlass)
    assert len(decision.bypassed) == 1
    without = decide(replace(known, break_glass=None))
    assert not isinstance(without, BreakGlass | Allow)
    assert decide(replace(known, groups=("shop",))) == without
    assert decide(situation(break_glass="x", **obstacles)) == without


def test_where_nothing_stands_in_the_way_no_glass_is_broken() -> None:
    assert decide(situation(glass=True, break_glass="the shop is down")) == Allow((), ())


@pytest.mark.parametrize(
    ("use", "denial"),
    [
        (FULL, "quota databases for shop: 3 of 3 used, 1 asked"),
        (
            replace(FULL, because="ask the platform team"),
            "quota databases for shop: 3 of 3 used, 1 asked: ask the platform team",
        ),
        (replace(FULL, used=2), None),
        (replace(FULL, used=4, asked=0), None),
        (replace(FULL, waived_by="w"), None),
        (replace(FULL, used=0.5, asked=2.75, per=""), "quota databases: 0.5 of 3 used, 2.75 asked"),
        (replace(FULL, used=0, uncounted=["a/b: no field"]), "quota databases can't be counted: a/b: no field"),
    ],
    ids=range(7),
)
def test_what_a_quota_says(use: Use, denial: str | None) -> None:
    assert use.denial == denial
