"""The rules about rules: what is heard, what errors do, what beats what."""

from datetime import timedelta
from typing import Any

import pytest
from entresol_policy.domain.judging import WHEN, Ask, Judgement, Policy, Rule, Unclear, judge

SRE = Ask(("group:sre",), 1, timedelta(hours=24), True)


def yes(scope: Any) -> bool:
    return True


def no(scope: Any) -> bool:
    return False


def unclear(scope: Any) -> bool:
    raise Unclear("request.inputs has no field size")


def policy(*rules: Rule, when: Any = None, mode: Any = "enforce", name: str = "p") -> Policy:
    return Policy(name, "sha256:aa", mode, when, rules)


def outcome(judgement: Judgement) -> str:
    if judgement.denials:
        return "denied"
    return "waits" if judgement.wanted else "allowed"


DENY, ASK = Rule("deny", yes, "no"), Rule("approve", None, "people decide", SRE)


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], "allowed"),
        ([policy(Rule("deny", no, "no"))], "allowed"),
        ([policy(DENY)], "denied"),
        ([policy(DENY, mode="audit")], "allowed"),
        ([policy(DENY, when=no)], "allowed"),
        ([policy(ASK)], "waits"),
        ([policy(ASK, mode="audit")], "allowed"),
        ([policy(ASK), policy(DENY)], "denied"),
        ([policy(DENY), policy(ASK)], "denied"),
        ([policy(Rule("deny", unclear, "no"))], "denied"),
        ([policy(Rule("deny", unclear, "no"), mode="audit")], "allowed"),
        ([policy(Rule("approve", unclear, None, SRE))], "denied"),
        ([policy(DENY, when=unclear)], "denied"),
        ([policy(DENY, when=unclear, mode="audit")], "allowed"),
        ([policy(DENY, mode="audit"), policy(ASK)], "waits"),
    ],
)
def test_what_policies_amount_to(policies: list[Policy], expected: str) -> None:
    assert outcome(judge(policies, {})) == expected


def test_every_rule_is_heard_even_after_a_denial() -> None:
    judgement = judge([policy(DENY, Rule("deny", no, "b"), name="a"), policy(ASK, name="b")], {})
    assert [(one.policy, one.rule, one.effect, one.matched) for one in judgement.verdicts] == [
        ("a", 0, "deny", True),
        ("a", 1, "deny", False),
        ("b", 0, "approve", True),
    ]


def test_a_policy_that_is_not_concerned_gives_one_verdict() -> None:
    (verdict,) = judge([policy(DENY, ASK, when=no)], {}).verdicts
    assert (verdict.rule, verdict.matched, verdict.version) == (WHEN, False, "sha256:aa")


def test_an_error_names_the_policy_the_rule_and_the_field() -> None:
    judgement = judge([policy(Rule("deny", no, "a"), Rule("deny", unclear, "b"), name="sizes")], {})
    assert judgement.denials == ("policy sizes, rule 1, can't be evaluated: request.inputs has no field size",)
    assert judgement.verdicts[1].effect == "error"
    assert not judgement.verdicts[1].matched


def test_an_audit_records_its_error_with_its_mode() -> None:
    (verdict,) = judge([policy(Rule("deny", unclear, "b"), mode="audit")], {}).verdicts
    assert (verdict.effect, verdict.mode, verdict.because) == ("error", "audit", "request.inputs has no field size")


def test_each_matching_rule_asks_by_itself() -> None:
    judgement = judge([policy(ASK, Rule("approve", no, None, SRE), ASK), policy(ASK, name="q")], {})
    assert [one.policy for one in judgement.wanted] == ["p", "p", "q"]
