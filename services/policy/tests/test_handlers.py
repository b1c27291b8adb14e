"""Events in, decisions out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_contracts.events import (
    Actor,
    AnswerCounted,
    AnswerRefused,
    ApprovalAnswered,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    ManifestApplied,
    ManifestRemoved,
    RequestAllowed,
    RequestCancelled,
    RequestDenied,
    RequestSubmitted,
)
from entresol_eventing.envelope import Cause, Event
from entresol_eventing.reactions import Cancel, Deadline, Due, Emit, Outcome
from entresol_eventing.testing import event, memory_session
from entresol_policy.asking import EXPIRY
from entresol_policy.evaluation import Evaluator
from entresol_policy.handlers import Gate
from entresol_policy.store import Base
from entresol_policy.store.tables import ApprovalRow, RequestRow
from sqlalchemy import func, select
from sqlmodel import Session

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)


class Desk:
    """A gate with its store, and what it said."""

    def __init__(self, session: Session) -> None:
        self.now = AT
        self.gate = Gate(Evaluator(), lambda: self.now)
        self.session = session
        self.reactions = self.gate.reactions()

    def hear(self, data: Any, at: datetime = AT) -> list[Outcome]:
        heard: Event[Any] = event(data, time=at)
        return list(self.reactions.to[type(data)](heard, self.session))

    def emitted(self, data: Any, at: datetime = AT) -> list[Any]:
        return [one.data for one in self.hear(data, at) if isinstance(one, Emit)]

    def apply(self, name: str, *rules: dict[str, Any], **spec: Any) -> None:
        manifest = {
            "apiVersion": "entresol.dev/v1",
            "kind": "Policy",
            "metadata": {"name": name},
            "spec": {"rules": list(rules), **spec},
        }
        self.hear(ManifestApplied(kind="Policy", name=name, digest=f"sha256:{name}", manifest=manifest))

    def due(self, approval_id: str) -> list[Outcome]:
        come = Due(f"approval:{approval_id}", EXPIRY, AT, {"approval": approval_id}, Cause())
        return list(self.reactions.when_due[EXPIRY](come, self.session))

    def rows(self) -> int:
        counts: list[int] = [
            self.session.execute(select(func.count()).select_from(t)).scalar_one() for t in (RequestRow, ApprovalRow)
        ]
        return sum(counts)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with memory_session(Base.metadata) as session:
        yield Desk(session)


def request(**changed: Any) -> RequestSubmitted:
    plain: dict[str, Any] = {
        "request_id": "r1",
        "resource_id": "shop/prod/database/orders",
        "project": "shop",
        "offering": "database",
        "offering_version": "1.0.0",
        "action": "create",
        "environment": "prod",
        "name": "orders",
        "inputs": {"size": "large"},
        "actor": Actor(id="user:ada", groups=["shop"]),
    }
    return RequestSubmitted(**plain | changed)


def answered(
    approval: ApprovalRequested, by: str = "user:bob", what: Any = "granted", **changed: Any
) -> ApprovalAnswered:
    plain = {
        "approval_id": approval.approval_id,
        "request_id": approval.request_id,
        "project": "shop",
        "groups": ["sre"],
    }
    return ApprovalAnswered(**plain | {"by": by, "answer": what} | changed)


ASK = {"approve": {"from": ["group:sre"]}, "because": "production needs a second pair of eyes"}
CANCELLED = RequestCancelled(request_id="r1", resource_id="shop/prod/database/orders", project="shop", by="user:ada")
NO_LARGE = {"deny": 'request.inputs.size == "large"', "because": "too large"}


def test_without_policies_a_request_is_allowed_and_leaves_no_row(desk: Desk) -> None:
    (emit,) = desk.hear(request())
    assert isinstance(emit, Emit)
    assert emit.data == RequestAllowed(
        request_id="r1", resource_id="shop/prod/database/orders", project="shop", verdicts=[]
    )
    assert (emit.subject, emit.partitionkey) == ("r1", "shop/prod/database/orders")
    assert desk.rows() == 0


def test_a_denial_says_why_and_by_which_version(desk: Desk) -> None:
    desk.apply("sizes", NO_LARGE)
    (denied,) = desk.emitted(request())
    assert isinstance(denied, RequestDenied)
    assert denied.because == ["too large"]
    assert (denied.verdicts[0].policy, denied.verdicts[0].version) == ("sizes", "sha256:sizes")
    assert desk.rows() == 0


def test_a_changed_or_removed_policy_is_in_force_at_once(desk: Desk) -> None:
    desk.apply("sizes", NO_LARGE)
    assert isinstance(desk.emitted(request())[0], RequestDenied)
    desk.apply("sizes", {"deny": "false", "because": "never"})
    assert isinstance(desk.emitted(request())[0], RequestAllowed)
    desk.apply("sizes", NO_LARGE)
    desk.hear(ManifestRemoved(kind="Policy", name="sizes"))
    assert desk.emitted(request())[0].verdicts == []


def test_other_kinds_are_not_policies(desk: Desk) -> None:
    desk.hear(ManifestApplied(kind="Offering", name="database", digest="sha256:o", manifest={"spec": {"actions": {}}}))
    desk.hear(ManifestRemoved(kind="Offering", name="database"))
    assert isinstance(desk.emitted(request())[0], RequestAllowed)


@pytest.mark.parametrize(
    ("expression", "denied"),
    [
        ('request.environment == "prod" && request.name == "orders" && request.version == "1.0.0"', True),
        ('request.resource.startsWith("shop/") && request.action == "create" && !request.dry_run', True),
        ('actor.id == "user:ada" && "shop" in actor.groups && !("sre" in actor.groups)', True),
        ('now > timestamp("2026-11-21T09:59:59Z") && now < timestamp("2026-11-21T10:00:01Z")', True),
        ("request.lifetime_seconds == null && request.reason == null", True),
        ("request.class == null && !request.orphan && request.snapshot == null && request.requirement == null", True),
        ('request.id != "r1" || request.project != "shop" || request.offering != "database"', False),
    ],
)
def test_what_expressions_may_name(desk: Desk, expression: str, denied: bool) -> None:
    desk.apply("p", {"deny": expression, "because": "x"})
    (decision,) = desk.emitted(request())
    assert all(one.effect != "error" for one in decision.verdicts), decision
    assert isinstance(decision, RequestDenied) == denied


@pytest.mark.parametrize(
    ("expression", "changed"),
    [
        ('request.class == "fast"', {"class": "fast"}),
        ("request.orphan", {"action": "delete", "orphan": True}),
        (
            'request.snapshot.revision < 3 && request.snapshot.request_id == "r0"',
            {"action": "rollback", "snapshot": {"revision": 2, "request_id": "r0"}},
        ),
        ("request.snapshot.request_id == null", {"action": "rollback", "snapshot": {"revision": 2}}),
        (
            'request.requirement.resource_id.startsWith("shop/") && request.requirement.name == "queue"'
            ' && request.requirement.request_id == "r0"',
            {"requirement": {"request_id": "r0", "resource_id": "shop/prod/app/cart", "name": "queue"}},
        ),
    ],
)
def test_what_only_some_requests_have_can_be_named(desk: Desk, expression: str, changed: dict[str, Any]) -> None:
    desk.apply("p", {"deny": expression, "because": "x"})
    (decision,) = desk.emitted(request(**changed))
    assert isinstance(decision, RequestDenied)
    assert decision.because == ["x"]


HOSTILE = [
    "(" * 2000 + "true" + ")" * 2000,
    "!" * 4000 + "x",
    "[" * 2047 + "]" * 2047,
    "-" * 4095 + "1",
    "true?" * 800 + "true",
    "a" * 4096,
    "request.inputs.nope.deeper == 1",
    "request.inputs.size > 3",
    "request.inputs.size",
    "1",
    "nobody",
    "not a b c",
    'request.inputs["size"].size() / 0 == 1',
    "[1,2,3].all(a, [1,2,3].all(b, [1,2,3].all(c, [1,2,3].all(d, true))))",
    '"a".matches("(((((a+)+)+)+)+)b(")',
    "\u0000",
    "🦄",
]


@pytest.mark.parametrize("source", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("place", ["deny", "approve", "when"])
def test_a_hostile_expression_denies_and_the_gate_lives(desk: Desk, source: str, place: str) -> None:
    if place == "deny":
        desk.apply("hostile", {"deny": source, "because": "x"})
    elif place == "approve":
        desk.apply("hostile", {**ASK, "when": source})
    else:
        desk.apply("hostile", {"deny": "false", "because": "x"}, when=source)
    (decision,) = desk.emitted(request())
    assert isinstance(decision, RequestDenied)
    assert decision.verdicts[0].effect == "error"
    assert len(decision.because[0]) < 1000
    desk.hear(ManifestRemoved(kind="Policy", name="hostile"))
    assert isinstance(desk.emitted(request())[0], RequestAllowed)


def test_an_error_says_which_field_was_missing(desk: Desk) -> None:
    desk.apply("zones", {"deny": 'request.inputs.zone == "a"', "because": "x"})
    (denied,) = desk.emitted(request())
    assert "zone" in denied.because[0]
    assert "rule 0" in denied.because[0]


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"spec": "text"},
        {"spec": {"rules": [{"deny": 1, "because": "x"}]}},
        {"spec": {"rules": [{"approve": {"from": []}}]}},
    ],
)
def test_a_policy_that_can_not_be_read_closes_the_gate(desk: Desk, manifest: dict[str, Any]) -> None:
    desk.hear(ManifestApplied(kind="Policy", name="broken", digest="sha256:b", manifest=manifest))
    (denied,) = desk.emitted(request())
    assert isinstance(denied, RequestDenied)
    assert (denied.verdicts[0].rule, denied.verdicts[0].effect) == (-1, "error")


def test_an_audit_policy_that_can_not_be_read_is_only_recorded(desk: Desk) -> None:
    broken = {"spec": {"mode": "audit", "rules": "none"}}
    desk.hear(ManifestApplied(kind="Policy", name="broken", digest="sha256:b", manifest=broken))
    (allowed,) = desk.emitted(request())
    assert isinstance(allowed, RequestAllowed)
    assert (allowed.verdicts[0].effect, allowed.verdicts[0].mode) == ("error", "audit")


def test_a_time_that_is_no_duration_denies(desk: Desk) -> None:
    desk.apply("late", {"approve": {"from": ["group:sre"], "within": "soon"}})
    (denied,) = desk.emitted(request())
    assert "no duration" in denied.because[0]


def test_a_policy_exempts_the_platform_itself_by_its_condition(desk: Desk) -> None:
    desk.apply("production", ASK, when='actor.id != "system:expiry" && request.environment == "prod"')
    expiry = Actor(id="system:expiry", groups=[])
    assert isinstance(desk.emitted(request(request_id="r2", action="delete", actor=expiry))[0], RequestAllowed)
    assert isinstance(desk.emitted(request())[0], ApprovalRequested)


def test_each_matching_rule_asks_with_a_deadline(desk: Desk) -> None:
    two = {"from": ["user:grace", "user:linus"], "count": 2, "within": "4h", "notSelf": False}
    desk.apply("production", ASK, {"approve": two})
    outcomes = desk.hear(request())
    asked = [one.data for one in outcomes if isinstance(one, Emit) and isinstance(one.data, ApprovalRequested)]
    deadlines = [one for one in outcomes if isinstance(one, Deadline)]
    assert [(one.count, one.not_self, one.approvers) for one in asked] == [
        (1, True, ["group:sre"]),
        (2, False, ["user:grace", "user:linus"]),
    ]
    assert [one.due_at - AT for one in deadlines] == [timedelta(hours=24), timedelta(hours=4)]
    assert [one.expires_at for one in asked] == [one.due_at for one in deadlines]
    assert desk.hear(request()) == [], "a request that waits is not asked about again"


def ask(desk: Desk, *rules: dict[str, Any]) -> list[ApprovalRequested]:
    desk.apply("production", *(rules or (ASK,)))
    return desk.emitted(request())


def test_a_grant_allows_the_request(desk: Desk) -> None:
    (approval,) = ask(desk)
    outcomes = desk.hear(answered(approval, reason="fine"))
    counted, granted, allowed = (one.data for one in outcomes if isinstance(one, Emit))
    assert isinstance(counted, AnswerCounted)
    assert (counted.by, counted.said, counted.reason, counted.at) == ("user:bob", "granted", "fine", AT)
    assert (counted.missing, counted.missing_from) == (0, [])
    assert isinstance(granted, ApprovalGranted)
    assert (granted.answers[0].by, granted.answers[0].reason, granted.answers[0].at) == ("user:bob", "fine", AT)
    assert isinstance(allowed, RequestAllowed)
    assert allowed.approvals == [approval.approval_id]
    assert allowed.verdicts == approval.verdicts
    assert Cancel(f"approval:{approval.approval_id}") in outcomes
    (refused,) = desk.emitted(answered(approval, by="user:carol"))
    assert refused.reason.startswith("closed")
    assert desk.due(approval.approval_id) == []


def test_all_approvals_are_needed(desk: Desk) -> None:
    first, second = ask(desk, ASK, {"approve": {"from": ["group:sre"], "count": 2}})
    assert [type(one) for one in desk.emitted(answered(first))] == [AnswerCounted, ApprovalGranted]
    (counted,) = desk.emitted(answered(second))
    assert (counted.said, counted.stands_for, counted.missing) == ("granted", ["group:sre"], 1)
    (refused,) = desk.emitted(answered(second))
    assert refused.reason.startswith("answered already")
    _, granted, allowed = desk.emitted(answered(second, by="user:carol"))
    assert [one.by for one in granted.answers] == ["user:bob", "user:carol"]
    assert sorted(allowed.approvals) == sorted([first.approval_id, second.approval_id])


def test_a_rejection_ends_it_and_closes_the_others(desk: Desk) -> None:
    first, second = ask(desk, ASK, ASK)
    outcomes = desk.hear(answered(first, what="rejected", reason="no"))
    assert [type(one.data) for one in outcomes if isinstance(one, Emit)] == [AnswerCounted, ApprovalRejected]
    keys = {one.key for one in outcomes if isinstance(one, Cancel)}
    assert keys >= {f"approval:{first.approval_id}", f"approval:{second.approval_id}"}
    (refused,) = desk.emitted(answered(second))
    assert refused.reason == "closed: the request is rejected already"
    assert desk.due(second.approval_id) == []


def test_an_expiry_ends_it_and_closes_the_others(desk: Desk) -> None:
    first, second = ask(desk, ASK, ASK)
    outcomes = desk.due(first.approval_id)
    (expired,) = (one for one in outcomes if isinstance(one, Emit))
    assert isinstance(expired.data, ApprovalExpired)
    assert expired.actor == "system:policy"
    assert Cancel(f"approval:{second.approval_id}") in outcomes
    assert desk.due(first.approval_id) == []
    assert desk.emitted(answered(first))[0].reason.startswith("too late")


def test_a_cancelled_request_says_nothing_and_takes_no_answers(desk: Desk) -> None:
    (approval,) = ask(desk)
    outcomes = desk.hear(CANCELLED)
    assert Cancel(f"approval:{approval.approval_id}") in outcomes
    assert all(isinstance(one, Cancel) for one in outcomes)
    assert desk.hear(CANCELLED) == []
    (refused,) = desk.emitted(answered(approval))
    assert isinstance(refused, AnswerRefused)
    assert refused.reason == "too late: the request was cancelled"
    assert desk.due(approval.approval_id) == []


def test_cancelling_what_never_waited_is_nothing(desk: Desk) -> None:
    desk.hear(request())
    assert desk.hear(CANCELLED) == []


def test_an_answer_to_nothing_is_refused(desk: Desk) -> None:
    stray = ApprovalAnswered(
        approval_id="none", request_id="r9", project="shop", answer="granted", by="user:bob", groups=["sre"]
    )
    (refused,) = desk.emitted(stray)
    assert refused.reason.startswith("too late")


def test_the_requester_does_not_count(desk: Desk) -> None:
    (approval,) = ask(desk)
    (refused,) = desk.emitted(answered(approval, by="user:ada"))
    assert refused.reason.startswith("own request")
    assert len(desk.emitted(answered(approval))) == 3
