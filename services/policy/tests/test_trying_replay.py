"""Drafts of policies, held against events as the log has them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from entresol_policy.domain.judging import Policy
from entresol_policy.evaluation import Evaluator
from entresol_policy.rules import read_policy
from entresol_policy.trying.replaying import Change, Replay

BEGIN = datetime(2026, 11, 1, 10, tzinfo=UTC)
NUMBERS = count(1)


def policy(name: str, *rules: dict[str, Any], **spec: Any) -> Policy:
    manifest = {
        "apiVersion": "entresol.dev/v1",
        "kind": "Policy",
        "metadata": {"name": name},
        "spec": {"rules": list(rules), **spec},
    }
    return read_policy(name, "sha256:draft", manifest)


def said(name: str, effect: str, *, matched: bool = True, **more: Any) -> dict[str, Any]:
    sane = {"version": "sha256:old", "rule": 0, "mode": "enforce", "because": f"{name} says so"}
    return {**sane, "policy": name, "effect": effect, "matched": matched, **more}


def event(fact: str, request: str | None = "r1", *, at: datetime = BEGIN, **data: Any) -> dict[str, Any]:
    names = {"request_id": request, "resource_id": f"shop/prod/database/{request}", "project": "shop"}
    return {
        "type": f"dev.entresol.{fact}.v1",
        "time": at.isoformat(),
        "position": next(NUMBERS),
        "data": {**(names if request else {}), **data},
    }


def submitted(request: str = "r1", *, at: datetime = BEGIN, **changed: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "offering": "database",
        "offering_version": "1.0.0",
        "action": "create",
        "environment": "prod",
        "name": request,
        "inputs": {"size": "large"},
        "actor": {"id": "user:ada", "groups": ["shop"]},
    }
    return event("request.submitted", request, at=at, **plain | changed)


def allowed(*verdicts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return event("request.allowed", verdicts=list(verdicts), **more)


def denied(because: list[str], *verdicts: dict[str, Any]) -> dict[str, Any]:
    return event("request.denied", because=because, verdicts=list(verdicts))


def asked(
    *verdicts: dict[str, Any], policy: str = "sizes", approvers: tuple[str, ...] = ("group:data",)
) -> dict[str, Any]:
    more: dict[str, Any] = {"approvers": list(approvers), "count": 1, "because": "why", "verdicts": list(verdicts)}
    return event("approval.requested", approval_id="a1", policy=policy, **more)


PLANNED: dict[str, Any] = {
    "run_id": "run",
    "digest": "sha256:plan",
    "adds": 0,
    "changes": 0,
    "destroys": 0,
    "steps": [],
}


def planned(destroys: int) -> dict[str, Any]:
    return event("run.planned", **(PLANNED | {"destroys": destroys}))


def replay(drafts: list[Policy], *events: dict[str, Any], since: datetime = BEGIN) -> tuple[Replay, list[Change]]:
    one = Replay(drafts, Evaluator(), since)

    def changes() -> Iterator[Change]:
        yield from (change for each in events if (change := one.hear(each)))
        yield from one.finish()

    return one, list(changes())


DENY = policy("sizes", {"deny": 'request.inputs.size == "large"', "because": "too large"})
ASK = policy("sizes", {"approve": {"from": ["group:data"]}, "because": "ask the data team"})
NEVER = policy("sizes", {"deny": "false", "because": "never"})
PLAN = policy("sizes", {"deny": "plan.destroys > 3", "because": "too much goes"})
OWNER = policy("sizes", {"approve": {"from": ["owner:service/cart"]}})
MATCHED, PASSED = said("sizes", "deny"), said("sizes", "deny", matched=False)
ASKED = said("sizes", "approve")
QUESTION = said("question", "approve", version="built-in")


@pytest.mark.parametrize(
    ("draft", "events", "change"),
    [
        (DENY, [allowed(PASSED)], ("allowed", "denied", "too large")),
        (DENY, [allowed()], ("allowed", "denied", "too large")),
        (DENY, [denied(["sizes says so"], MATCHED)], None),
        (ASK, [allowed(PASSED)], ("allowed", "approval", "ask the data team")),
        (ASK, [asked(ASKED), allowed(ASKED)], None),
        (NEVER, [allowed(PASSED)], None),
        (NEVER, [asked(ASKED, QUESTION), allowed(ASKED, QUESTION)], None),
        (
            policy("question", {"deny": "false", "because": "never"}),
            [asked(QUESTION, policy="question"), allowed(QUESTION)],
            None,
        ),
        (DENY, [asked(QUESTION, policy="question"), allowed(QUESTION)], ("approval", "denied", "too large")),
        (NEVER, [denied(["sizes says so"], MATCHED)], ("denied", "allowed", "no more: sizes says so")),
        (NEVER, [denied(["sizes says so", "other says so"], MATCHED, said("other", "deny"))], None),
        (NEVER, [denied(["quota databases: 2 of 2 used, 1 asked"], PASSED)], None),
        (NEVER, [asked(ASKED), allowed(ASKED)], ("approval", "allowed", "no more: sizes says so")),
        (NEVER, [allowed(said("other", "approve"))], None),
        (NEVER, [asked(ASKED), event("approval.rejected", approval_id="a1")], ("approval", "allowed", "no more")),
        (NEVER, [asked(ASKED), event("request.cancelled")], ("approval", "allowed", "no more")),
        (NEVER, [asked(ASKED)], ("approval", "allowed", "no more")),
        (DENY, [allowed(MATCHED, glass_broken=True)], None),
        (DENY, [allowed(MATCHED | {"mode": "audit"})], ("allowed", "denied", "too large")),
        (PLAN, [allowed()], ("allowed", "plan first (unknown)", "sizes looks at the plan")),
        (PLAN, [planned(4), allowed()], ("allowed", "denied", "too much goes")),
        (PLAN, [planned(3), allowed()], None),
        (OWNER, [allowed()], ("allowed", "denied", "nobody can be asked")),
        (
            policy("sizes", {"approve": {"from": ["group:security"]}}),
            [asked(ASKED), allowed(ASKED)],
            ("approval", "approval by others", "asks group:security"),
        ),
    ],
)
def test_a_draft_takes_the_place_of_the_policy_of_its_name(
    draft: Policy, events: list[dict[str, Any]], change: tuple[str, str, str] | None
) -> None:
    one, changes = replay([draft], submitted(), *events)
    assert one.totals.requests == 1
    assert one.totals.unchanged == (change is None)
    assert [(each.was, each.would_be) for each in changes] == ([change[:2]] if change else [])
    assert change is None or change[2] in "; ".join(changes[0].because)


def test_a_rule_sees_the_catalog_and_the_time_of_the_decision() -> None:
    gate = 'now < timestamp("2026-11-01T10:30:00Z")'
    rules = ({"approve": {"from": ["owner:service/cart"]}}, {"deny": gate, "because": "early"})
    cart: dict[str, Any] = {"blueprint": "service", "identifier": "cart"}
    entity = {**cart, "team": "shop", "properties": {}, "relations": {}}
    _, changes = replay(
        [policy("owners", *rules)],
        event("entity.changed", None, **cart, revision=1, entity=entity | {"team": "old"}, changed=[]),
        event("entity.changed", None, **cart, revision=2, entity=entity, changed=["/team"]),
        submitted("r1"),
        event("request.allowed", "r1", verdicts=[], at=BEGIN + timedelta(minutes=29)),
        submitted("r2"),
        event("request.allowed", "r2", verdicts=[], at=BEGIN + timedelta(hours=1)),
        event("entity.removed", None, **cart, revision=3),
        submitted("r3"),
        event("request.allowed", "r3", verdicts=[], at=BEGIN + timedelta(hours=2)),
    )
    assert [(one.request, one.would_be) for one in changes] == [
        ("r1", "denied"),
        ("r2", "approval"),
        ("r3", "denied"),
    ]


def test_a_waiver_that_was_in_force_waives_the_draft_too() -> None:
    waiver: dict[str, Any] = {
        "waives": "Policy/sizes",
        "scope": {"project": "shop"},
        "reason": "x",
        "ticket": "T",
        "by": "user:x",
    }
    until = (BEGIN + timedelta(days=1)).isoformat()
    one, changes = replay(
        [DENY],
        event("waiver.granted", None, waiver_id="w1", until=until, **waiver),
        submitted("r1"),
        event("request.allowed", "r1", verdicts=[]),
        event("waiver.revoked", None, waiver_id="w1", by="user:x"),
        submitted("r2"),
        event("request.allowed", "r2", verdicts=[]),
    )
    assert (one.totals.requests, [each.request for each in changes]) == (2, ["r2"])


def test_a_rule_sees_the_inputs_that_the_steps_of_that_time_saw() -> None:
    spec = {"actions": {"create": {}}, "inputs": {"properties": {"size": {"default": "large"}}}}
    applied = event("manifest.applied", None, kind="Offering", name="database", version="2.0.0", digest="d")
    applied["data"]["manifest"] = {"spec": spec}
    update: dict[str, Any] = {"action": "update", "inputs": {"replicas": 4}}
    _, changes = replay(
        [DENY],
        applied,
        event("resource.provisioned", "r1", inputs={"size": "large"}),
        event("resource.provisioned", "r2", inputs={"size": "large"}),
        event("resource.changed", "r2", inputs={"size": "small"}),
        event("resource.provisioned", "r3", inputs={"size": "large"}),
        event("resource.deleted", "r3"),
        *(
            one
            for name in ("r1", "r2")
            for one in (submitted(name, **update), event("request.allowed", name, verdicts=[]))
        ),
        submitted("r3", **update, offering_version="2.0.0"),
        event("request.allowed", "r3", verdicts=[]),
        submitted("r4", **update),
        event("run.planned", "r4", **(PLANNED | {"inputs": {"size": "large"}})),
        event("request.allowed", "r4", verdicts=[]),
    )
    assert [one.request for one in changes] == ["r1", "r3", "r4"]


def test_only_requests_of_that_time_that_were_decided_count() -> None:
    one, changes = replay(
        [DENY],
        submitted("old", at=BEGIN - timedelta(seconds=1)),
        event("request.allowed", "old", verdicts=[]),
        submitted("undecided"),
        submitted("failed"),
        event("run.failed", "failed", run_id="run", reason="it can't be planned"),
        submitted("small", inputs={"size": "small"}),
        event("request.allowed", "small", verdicts=[]),
        event("request.allowed", "small", verdicts=[MATCHED]),
        event("approval.requested", "small", review=True, verdicts=[], policy="x", approvers=["group:x"], count=1),
    )
    assert (one.totals.requests, one.totals.unchanged, changes) == (1, 1, [])


def test_a_draft_that_cannot_be_evaluated_is_counted() -> None:
    broken = policy("sizes", {"deny": "request.inputs.cores > 4", "because": "too many"})
    one, changes = replay([broken], submitted(), allowed())
    assert one.totals.errors == 1
    assert "can't be evaluated" in changes[0].because[0]
    audit = policy("sizes", {"deny": "request.inputs.cores > 4", "because": "too many"}, mode="audit")
    one, changes = replay([audit], submitted(), allowed())
    assert (one.totals.errors, changes) == (1, [])


def test_what_does_not_fit_the_contract_is_counted_and_left_out() -> None:
    one, changes = replay([DENY], event("request.submitted", "r1"), allowed())
    assert (one.totals.requests, one.totals.unreadable, changes) == (0, 1, [])
