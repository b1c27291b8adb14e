"""Requests through time: plans, people, locks, windows, waivers, quotas and broken glass, with a clock that is set."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_contracts.events import (
    Actor,
    AnswerCounted,
    AnswerRefused,
    AnswerWithdrawn,
    ApprovalAnswered,
    ApprovalClosed,
    ApprovalDelegated,
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalReminded,
    ApprovalRequested,
    EntityChanged,
    EntityRemoved,
    GlassBroken,
    HoldOverridden,
    LockExpired,
    LockLifted,
    ManifestRemoved,
    OverrideCounted,
    OverrideRefused,
    PlanRequested,
    Question,
    RequestAllowed,
    RequestCancelled,
    RequestDenied,
    RequestHeld,
    Requirement,
    ResourceDeleted,
    RunFailed,
    RunSucceeded,
    ScorecardChanged,
    ScorecardRule,
    Snapshot,
    WaiverExpired,
    WaiverRevoked,
)
from entresol_policy.handlers import BITE

from services.policy.tests.conftest import AT, RESOURCE, World, kinds

ASK = {"approve": {"from": ["group:sre"]}, "because": "a second pair of eyes"}
LOOKS = {"deny": "plan.destroys > 0", "because": "something would go"}


def deleted(name: str) -> ResourceDeleted:
    return ResourceDeleted(
        resource_id=f"shop/prod/database/{name}",
        project="shop",
        environment="prod",
        offering="database",
        offering_version="1.0.0",
        name=name,
        request_id="r9",
    )


def succeeded(request_id: str, action: str) -> RunSucceeded:
    return RunSucceeded(
        request_id=request_id,
        resource_id=RESOURCE,
        project="shop",
        run_id="run",
        action=action,
        outputs={},
        duration_ms=1,
        dry_run=False,
    )


# Plans


def test_a_policy_that_looks_at_the_plan_gets_it_first_and_the_decision_names_it(world: World) -> None:
    world.policy("careful", LOOKS)
    (wanted,) = world.ask()
    assert isinstance(wanted, PlanRequested)
    assert wanted.policies == ["careful"]
    (allowed,) = world.plan()
    assert isinstance(allowed, RequestAllowed)
    assert allowed.plan_digest == "p1"
    assert [(one.rule, one.matched) for one in allowed.verdicts] == [(0, False)]


def test_a_plan_may_be_denied(world: World) -> None:
    world.policy("careful", LOOKS)
    world.ask()
    (denied,) = world.plan(destroys=1)
    assert isinstance(denied, RequestDenied)
    assert (denied.because, denied.plan_digest) == (["something would go"], "p1")


def test_nobody_plans_what_is_denied_anyway_or_what_no_concerned_policy_looks_at(world: World) -> None:
    world.policy("careful", LOOKS, when='request.environment == "staging"')
    assert kinds(world.ask("r1")) == [RequestAllowed]
    world.policy("careful", LOOKS, {"deny": "true", "because": "never"})
    assert kinds(world.ask("r2")) == [RequestDenied]


def test_people_approve_the_plan_and_its_digest(world: World) -> None:
    world.policy("eyes", ASK, plan=True)
    assert kinds(world.ask()) == [PlanRequested]
    (asked,) = world.plan(cost=40)
    assert (asked.plan.digest, asked.plan.adds, asked.plan.cost, asked.plan.summary) == ("p1", 1, 40, ["create db"])
    granted, allowed = world.answer(asked)
    assert (granted.plan_digest, allowed.plan_digest) == ("p1", "p1")


def test_a_stale_plan_is_asked_about_again_and_old_grants_do_not_count(world: World) -> None:
    world.policy("eyes", ASK, plan=True)
    world.ask()
    (asked,) = world.plan()
    world.answer(asked)
    assert world.plan("p1") == [], "the same plan again is no news"
    (again,) = world.plan("p2", replaces="p1")
    assert isinstance(again, ApprovalRequested)
    assert again.approval_id != asked.approval_id
    assert again.plan is not None
    assert again.plan.digest == "p2"
    (refused,) = world.answer(asked)
    assert isinstance(refused, AnswerRefused)
    _, allowed = world.answer(again)
    assert allowed.plan_digest == "p2"


def test_a_failed_plan_ends_the_waiting(world: World) -> None:
    world.policy("eyes", ASK, plan=True)
    world.ask()
    failed = RunFailed(
        request_id="r1", resource_id=RESOURCE, project="shop", run_id="run", action="create", reason="no repository"
    )
    assert world.hear(failed) == []
    assert world.plan() == []


def test_a_plan_without_a_cost_makes_a_rule_about_it_deny_and_say_so(world: World) -> None:
    world.policy("cheap", {"deny": "plan.cost > 100.0", "because": "too dear"})
    world.ask()
    (denied,) = world.plan()
    assert "cost" in denied.because[0]


@pytest.mark.parametrize("state", ["waiting", "held"])
def test_a_policy_that_begins_to_look_at_plans_takes_back_what_was_asked_without_one(world: World, state: str) -> None:
    world.policy("eyes", ASK)
    if state == "held":
        world.lock()
    (asked,) = world.ask()
    if state == "held":
        world.answer(asked)
    said = world.policy("careful", LOOKS)
    assert kinds(said) == ([PlanRequested] if state == "held" else [ApprovalClosed, PlanRequested])
    (refused,) = world.answer(asked, "user:cyd", "rejected")
    assert isinstance(refused, AnswerRefused)
    assert world.pass_time(timedelta(days=2)) == [], "only a plan, or its failure, ends the planning"
    (again,) = world.plan()
    assert isinstance(again, ApprovalRequested)
    assert again.plan is not None


def test_a_policy_that_is_gone_before_the_plan_is_approved_lets_go_of_that_plan_alone(world: World) -> None:
    world.policy("eyes", ASK, plan=True)
    world.ask()
    (asked,) = world.plan()
    closed, allowed = world.hear(ManifestRemoved(kind="Policy", name="eyes"))
    assert (closed.approval_id, allowed.plan_digest) == (asked.approval_id, "p1")


# People


def test_what_counts_is_said_with_what_is_still_missing(world: World) -> None:
    everyone = {
        "from": ["group:sre", "group:dba", "user:eve"],
        "all": True,
        "escalate": {"after": "1h", "to": ["group:managers"]},
    }
    world.policy("eyes", {"approve": everyone})
    (asked,) = world.ask()
    about: dict[str, Any] = {"approval_id": asked.approval_id, "request_id": "r1", "project": "shop"}

    def told(said: list[Any]) -> tuple[Any, ...]:
        (counted,) = said
        assert isinstance(counted, AnswerCounted)
        return counted.said, counted.stands_for, counted.in_place_of, counted.missing, counted.missing_from

    both = ["group:sre", "group:dba"]
    assert told(world.answer(asked, groups=["sre", "dba"])) == ("granted", both, None, 2, [*both, "user:eve"])
    handed = ApprovalDelegated(**about, by="user:eve", groups=[], to="user:zoe", reason="on leave")
    assert told(world.hear(handed)) == ("delegated", ["user:eve"], None, 2, [*both, "user:eve", "user:zoe"])
    world.pass_time(timedelta(hours=1))
    standing = told(world.answer(asked, "user:zoe", groups=[]))
    assert standing == ("granted", ["user:eve"], "user:eve", 1, [*both, "group:managers"])
    taken = AnswerWithdrawn(**about, by="user:bob", groups=["sre"], reason="not sure")
    assert told(world.hear(taken)) == ("withdrawn", None, None, 2, [*both, "group:managers"])
    world.answer(asked, groups=["sre"])
    counted, granted, _ = world.hear(ApprovalAnswered(**about, answer="granted", by="user:dan", groups=["dba"]))
    assert (told([counted])[3:], type(granted)) == ((0, []), ApprovalGranted)


def test_reminders_escalation_and_the_end_come_in_their_time(world: World) -> None:
    world.policy(
        "eyes",
        {
            "approve": {
                "from": ["group:sre"],
                "within": "4h",
                "remind": "90m",
                "escalate": {"after": "2h", "to": ["group:managers"]},
            }
        },
    )
    (asked,) = world.ask()
    assert (asked.remind_at, asked.escalates_at) == (AT + timedelta(minutes=90), AT + timedelta(hours=2))
    assert world.pass_time(timedelta(minutes=89)) == []
    assert kinds(world.pass_time(timedelta(minutes=1))) == [ApprovalReminded]
    (refused,) = world.answer(asked, "user:mia", groups=["managers"])
    assert isinstance(refused, AnswerRefused)
    (escalated,) = world.pass_time(timedelta(minutes=30))
    assert isinstance(escalated, ApprovalEscalated)
    assert escalated.approvers == ["group:managers"]
    assert kinds(world.pass_time(timedelta(hours=1))) == [ApprovalReminded]
    assert kinds(world.pass_time(timedelta(hours=2))) == [ApprovalExpired]
    assert world.deadlines == {}
    (late,) = world.answer(asked, "user:mia", groups=["managers"])
    assert late.reason.startswith("too late")


def test_whom_the_escalation_names_may_grant(world: World) -> None:
    world.policy("eyes", {"approve": {"from": ["group:sre"], "escalate": {"after": "2h", "to": ["group:managers"]}}})
    (asked,) = world.ask()
    world.pass_time(timedelta(hours=2))
    assert kinds(world.answer(asked, "user:mia", groups=["managers"])) == [ApprovalGranted, RequestAllowed]


def test_a_changed_policy_examines_what_waits_and_not_what_has_ended(world: World) -> None:
    world.policy("eyes", ASK)
    (first,) = world.ask("r1")
    (second,) = world.ask("r2", environment="staging")
    (done,) = world.ask("r3")
    world.answer(done)
    said = world.policy("eyes", {**ASK, "when": 'request.environment == "prod"'})
    assert [(type(one), one.request_id) for one in said] == [(ApprovalClosed, "r2"), (RequestAllowed, "r2")]
    assert said[0].approval_id == second.approval_id
    said = world.policy("eyes", {"deny": "true", "because": "closed for good"})
    assert [(type(one), one.request_id) for one in said] == [(RequestDenied, "r1")]
    (refused,) = world.answer(first)
    assert refused.reason == "closed: the request is denied already"


@pytest.mark.parametrize("kept_waiting_by", ["another question", "a lock"])
@pytest.mark.parametrize("gone", ["changed", "audited", "removed", "waived"])
def test_a_question_that_went_and_came_back_is_asked_anew(world: World, kept_waiting_by: str, gone: str) -> None:
    world.policy("eyes", ASK)
    if kept_waiting_by == "a lock":
        world.lock()
    else:
        world.policy("others", {"approve": {"from": ["group:data"]}, "because": "their data"})
    first = next(one for one in world.ask() if one.policy == "eyes")
    match gone:
        case "changed":
            said = world.policy("eyes", {"approve": {"from": ["group:security"]}, "because": "somebody else"})
        case "audited":
            said = world.policy("eyes", ASK, mode="audit")
        case "removed":
            said = world.hear(ManifestRemoved(kind="Policy", name="eyes"))
        case _:
            said = world.waive("Policy/eyes", AT + timedelta(hours=1))
    assert (type(said[0]), said[0].approval_id) == (ApprovalClosed, first.approval_id)
    back = world.policy("eyes", ASK) if gone != "waived" else world.pass_time(timedelta(hours=1))
    (again,) = [one for one in back if isinstance(one, ApprovalRequested)]
    assert again.policy == "eyes"
    (refused,) = world.answer(first)
    assert refused.reason == "closed: nobody is asked any more"
    said = world.answer(again) + world.hear(LockLifted(lock_id="l1", by="user:eve"))
    assert (RequestAllowed in kinds(said)) == (kept_waiting_by == "a lock")


def test_whoever_nobody_but_the_requester_could_answer_is_denied_and_does_not_wait_in_vain(world: World) -> None:
    world.policy("owner", {"approve": {"from": ["user:${request.inputs.owner}"]}, "because": "its owner"})
    (denied,) = world.ask("r1", inputs={"owner": "ada"})
    assert denied.because == [
        "policy owner: nobody can be asked: 1 of user:ada would have to agree, and user:ada asked for it"
    ]
    assert kinds(world.ask("r2", inputs={"owner": "bob"})) == [ApprovalRequested]


def test_a_glass_that_nobody_else_could_review_is_not_broken(world: World) -> None:
    world.policy("closed", {"deny": "true", "because": "closed"})
    world.policy("mine", {"breakGlass": {"by": ["user:ada"], "review": {"from": ["user:ada"]}}})
    (denied,) = world.ask(break_glass="the shop is down")
    assert denied.because[1].startswith("policy mine: nobody can be asked: 1 of user:ada")


def test_a_removed_policy_lets_go_of_what_waits(world: World) -> None:
    world.policy("eyes", ASK)
    world.ask()
    assert kinds(world.hear(ManifestRemoved(kind="Policy", name="eyes"))) == [ApprovalClosed, RequestAllowed]


def test_more_requests_than_one_transaction_takes_are_all_examined_again(world: World) -> None:
    world.policy("eyes", ASK)
    for number in range(BITE * 2 + 1):
        world.ask(f"r{number:04}")
    said = world.hear(ManifestRemoved(kind="Policy", name="eyes"))
    assert len([one for one in said if isinstance(one, RequestAllowed)]) == BITE * 2 + 1


# Locks


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        ({}, True),
        ({"project": "shop"}, True),
        ({"project": "blog"}, False),
        ({"environment": "prod", "offering": "database"}, True),
        ({"environment": "staging", "offering": "database"}, False),
        ({"resource": RESOURCE}, True),
        ({"action": "delete"}, False),
    ],
)
def test_a_lock_holds_what_it_is_about(world: World, scope: dict[str, Any], holds: bool) -> None:
    world.lock(**scope)
    (said,) = world.ask()
    if not holds:
        assert isinstance(said, RequestAllowed)
        return
    assert isinstance(said, RequestHeld)
    assert (said.holds[0].kind, said.holds[0].name, said.holds[0].by) == ("lock", "l1", "user:eve")
    assert kinds(world.hear(LockLifted(lock_id="l1", by="user:eve"))) == [RequestAllowed]


def test_a_lock_that_is_placed_while_people_think_holds_after_the_grant(world: World) -> None:
    world.policy("eyes", ASK)
    (asked,) = world.ask()
    assert world.lock(project="shop", until=AT + timedelta(hours=1)) == []
    assert kinds(world.answer(asked)) == [ApprovalGranted, RequestHeld]
    assert kinds(world.pass_time(timedelta(hours=1))) == [LockExpired, RequestAllowed]
    assert world.said[-1].approvals == [asked.approval_id]


def test_who_is_exempt_is_not_held_and_dry_runs_neither(world: World) -> None:
    world.lock(exempt=("group:sre",))
    assert kinds(world.ask("r1", actor=Actor(id="user:bob", groups=["sre"]))) == [RequestAllowed]
    assert kinds(world.ask("r2", dry_run=True)) == [RequestAllowed]


def test_a_held_request_that_is_cancelled_says_nothing_more(world: World) -> None:
    world.lock()
    world.ask()
    assert world.hear(RequestCancelled(request_id="r1", resource_id=RESOURCE, project="shop", by="user:ada")) == []
    assert world.hear(LockLifted(lock_id="l1", by="user:eve")) == []


# Windows


def nights(world: World, **more: Any) -> None:
    spec = {"effect": "allow", "cron": "30 2 * * *", "duration": "2h", "timeZone": "Europe/Berlin", **more}
    world.apply("Window", "nights", because="production changes at night", **spec)


def test_a_window_opens_at_night_in_another_time_zone_across_a_change_of_clocks(world: World) -> None:
    nights(world)
    world.now = datetime(2026, 3, 27, 12, tzinfo=UTC)
    (held,) = world.ask("r1")
    assert held.holds[0].until == datetime(2026, 3, 28, 1, 30, tzinfo=UTC), "half past two in winter"
    (allowed,) = world.until(datetime(2026, 3, 28, 1, 30, tzinfo=UTC))
    assert isinstance(allowed, RequestAllowed)
    world.now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    (held,) = world.ask("r2")
    assert held.holds[0].until == datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "half past two is skipped: at the change"
    assert world.until(datetime(2026, 3, 29, 0, 59, tzinfo=UTC)) == []
    assert kinds(world.until(datetime(2026, 3, 29, 1, 0, tzinfo=UTC))) == [RequestAllowed]
    world.now = datetime(2026, 3, 29, 12, tzinfo=UTC)
    (held,) = world.ask("r3")
    assert held.holds[0].until == datetime(2026, 3, 30, 0, 30, tzinfo=UTC), "half past two in summer"


def test_a_service_that_was_down_while_the_window_was_open_holds_until_the_next(world: World) -> None:
    nights(world)
    (held,) = world.ask()
    assert held.holds[0].until == datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
    world.now = datetime(2026, 11, 22, 9, tzinfo=UTC)
    (again,) = world.pass_time(timedelta())
    assert isinstance(again, RequestHeld)
    assert again.holds[0].until == datetime(2026, 11, 23, 1, 30, tzinfo=UTC)


def test_a_held_request_is_let_through_by_whom_the_window_names(world: World) -> None:
    nights(world, override=["group:sre"])
    world.ask()

    def override(by: str, *groups: str) -> list[Any]:
        said = HoldOverridden(
            request_id="r1", resource_id=RESOURCE, project="shop", by=by, groups=list(groups), reason="it can't wait"
        )
        return world.hear(said)

    (refused,) = override("user:ada", "shop")
    assert isinstance(refused, OverrideRefused)
    assert "only group:sre may" in refused.reason
    counted, allowed = override("user:bob", "sre")
    assert isinstance(counted, OverrideCounted)
    assert [one.name for one in counted.holds] == [one.name for one in allowed.overridden] == ["nights"]
    (late,) = override("user:bob", "sre")
    assert late.reason == "nothing holds it: it is allowed"


def test_a_window_that_never_opens_denies(world: World) -> None:
    nights(world, cron="0 0 30 2 *")
    (denied,) = world.ask()
    assert isinstance(denied, RequestDenied)
    assert "nights" in denied.because[0]


def test_a_window_whose_condition_fails_denies(world: World) -> None:
    nights(world, when='request.inputs.zone == "a"')
    (denied,) = world.ask()
    assert "window nights can't be evaluated" in denied.because[0]


# Waivers


def test_a_waiver_runs_out_for_what_still_waits(world: World) -> None:
    world.policy("sizes", {"deny": 'request.inputs.size == "large"', "because": "too large"})
    world.policy("eyes", ASK)
    world.waive("Policy/sizes", AT + timedelta(hours=1), project="shop")
    (asked,) = world.ask()
    waived = next(one for one in asked.verdicts if one.policy == "sizes")
    assert (waived.matched, waived.waived_by) == (True, "w1")
    assert kinds(world.pass_time(timedelta(hours=1))) == [WaiverExpired, RequestDenied]


def test_a_waiver_is_for_its_scope_and_may_be_revoked(world: World) -> None:
    world.policy("sizes", {"deny": 'request.inputs.size == "large"', "because": "too large"})
    world.waive("Policy/sizes", AT + timedelta(days=1), rule=0, request="r2")
    assert kinds(world.ask("r1")) == [RequestDenied]
    assert kinds(world.ask("r2")) == [RequestAllowed]
    world.hear(WaiverRevoked(waiver_id="w1", by="user:eve"))
    assert kinds(world.ask("r2")) == [RequestDenied]


def test_a_waived_rule_is_known_by_what_it_says_and_not_by_its_number(world: World) -> None:
    small, never = {"deny": 'request.inputs.size == "large"', "because": "too large"}, {"deny": "true", "because": "no"}
    world.policy("sizes", small)
    world.waive("Policy/sizes", AT + timedelta(days=1), rule=0)
    assert kinds(world.ask("r1")) == [RequestAllowed]
    world.policy("sizes", {"deny": "false", "because": "never"}, small)
    assert kinds(world.ask("r2")) == [RequestAllowed]
    world.policy("sizes", never, small)
    (denied,) = world.ask("r3")
    assert denied.because == ["no"]
    world.policy("sizes", never)
    assert kinds(world.ask("r4")) == [RequestDenied]


def test_a_window_can_be_waived(world: World) -> None:
    nights(world)
    world.ask()
    assert kinds(world.waive("Window/nights", AT + timedelta(hours=1), request="r1")) == [RequestAllowed]


# Quotas


def test_requests_at_the_same_time_share_a_quota_and_a_failed_one_gives_back(world: World) -> None:
    world.apply("Quota", "databases", when='resource.offering == "database"', per="resource.project", limit=3)
    world.exists("old")
    said = [world.ask(f"r{n}", name=f"n{n}", resource_id=f"shop/prod/database/n{n}")[0] for n in range(4)]
    assert kinds(said) == [RequestAllowed, RequestAllowed, RequestDenied, RequestDenied]
    assert said[2].because == ["quota databases for shop: 3 of 3 used, 1 asked"]
    assert (said[1].quotas[0].used, said[1].quotas[0].asked, said[1].quotas[0].limit) == (2, 1, 3)
    failed = RunFailed(
        request_id="r0", resource_id="shop/prod/database/n0", project="shop", run_id="x", action="create", reason="x"
    )
    world.hear(failed)
    assert kinds(world.ask("r5", name="n5", resource_id="shop/prod/database/n5")) == [RequestAllowed]
    world.exists("n1", "r1")
    assert kinds(world.ask("r6", name="n6", resource_id="shop/prod/database/n6")) == [RequestDenied]
    world.hear(deleted("old"))
    assert kinds(world.ask("r7", name="n7", resource_id="shop/prod/database/n7")) == [RequestAllowed]


def test_a_create_that_found_its_resource_there_gives_back_what_it_was_allowed(world: World) -> None:
    world.apply("Quota", "databases", limit=1)
    needs = [Requirement(request_id=f"n{n}", resource_id=f"shop/prod/app/a{n}", name="db") for n in range(2)]
    said = [world.ask(f"r{n}", requirement=needs[n])[0] for n in range(2)]
    assert kinds(said) == [RequestAllowed, RequestAllowed], "both are for the same one"
    world.exists("orders", "r0")
    for n in range(2):
        world.hear(succeeded(f"r{n}", "create"))
    world.hear(deleted("orders"))
    assert kinds(world.ask("r3", name="other", resource_id="shop/prod/database/other")) == [RequestAllowed]


@pytest.mark.parametrize("first", ["databases", "sizes"])
def test_what_is_on_its_way_counts_also_in_a_quota_that_changes_or_comes_meanwhile(world: World, first: str) -> None:
    def ask(name: str) -> Any:
        return world.ask(name, name=name, resource_id=f"shop/prod/database/{name}")[-1]

    world.apply("Quota", first, limit=5)
    assert isinstance(ask("a"), RequestAllowed)
    assert isinstance(ask("b"), RequestAllowed)
    world.apply("Quota", "databases", limit=2)
    assert ask("c").because == ["quota databases: 2 of 2 used, 1 asked"]
    world.exists("a", "a")
    assert isinstance(ask("d"), RequestDenied), "it counts once, on its way or there"
    failed = {"resource_id": "shop/prod/database/b", "project": "shop", "run_id": "x", "action": "create"}
    world.hear(RunFailed(request_id="b", reason="x", **failed))
    world.apply("Quota", "databases", limit=2, because="changed again")
    assert isinstance(ask("e"), RequestAllowed), "what has failed does not come back"


def test_without_quotas_nothing_is_on_its_way(world: World) -> None:
    world.apply("Quota", "databases", limit=5)
    world.ask("a")
    world.hear(ManifestRemoved(kind="Quota", name="databases"))
    world.exists("orders", "a")
    world.hear(
        ResourceDeleted(
            resource_id=RESOURCE,
            project="shop",
            environment="prod",
            offering="database",
            offering_version="1.0.0",
            name="orders",
            request_id="d",
        )
    )
    world.apply("Quota", "databases", limit=1)
    assert kinds(world.ask("b")) == [RequestAllowed]


def test_an_update_counts_what_it_adds(world: World) -> None:
    world.apply("Quota", "storage", sum="resource.inputs.gb", limit=100)
    world.exists("orders", gb=80)
    assert kinds(world.ask("r2", action="update", inputs={"gb": 90})) == [RequestAllowed]
    (denied,) = world.ask("r3", action="update", inputs={"gb": 120})
    assert denied.because == ["quota storage: 90 of 100 used, 30 asked"]
    assert kinds(world.ask("r4", action="update", inputs={"gb": 10})) == [RequestAllowed]
    assert kinds(world.ask("r5", action="delete", inputs={})) == [RequestAllowed]


def test_a_quota_that_can_not_count_denies_and_names_what(world: World) -> None:
    world.exists("old")
    world.apply("Quota", "storage", sum="resource.inputs.gb", limit=100)
    (denied,) = world.ask("r2", inputs={"gb": 1})
    assert "shop/prod/database/old" in denied.because[0]
    world.apply("Quota", "storage", sum="has(resource.inputs.gb) ? resource.inputs.gb : 0", limit=100)
    assert kinds(world.ask("r3", inputs={"gb": 1})) == [RequestAllowed]
    world.hear(ManifestRemoved(kind="Quota", name="storage"))
    assert kinds(world.ask("r4", inputs={"gb": 1000})) == [RequestAllowed]


def test_a_quota_that_was_filled_while_people_thought_denies(world: World) -> None:
    world.policy("eyes", {**ASK, "when": 'request.id == "r1"'})
    world.apply("Quota", "databases", limit=1)
    (asked,) = world.ask("r1")
    world.ask("r2", name="b", resource_id="shop/prod/database/b")
    assert kinds(world.answer(asked)) == [ApprovalGranted, RequestDenied]


def test_an_adoption_counts_as_a_create_and_a_rollback_what_it_goes_back_to(world: World) -> None:
    world.apply("Quota", "storage", sum="has(resource.inputs.gb) ? resource.inputs.gb : 1", limit=100)
    (denied,) = world.ask("r1", action="adopt", inputs={"gb": 120})
    assert denied.because == ["quota storage: 0 of 100 used, 120 asked"]
    assert kinds(world.ask("r2", action="adopt", inputs={"gb": 80})) == [RequestAllowed]
    assert kinds(world.ask("r3", resource_id="b", name="b", inputs={"gb": 21})) == [RequestDenied]
    world.exists("orders", "r2", gb=80, tier="gold")
    (denied,) = world.ask("r4", action="rollback", inputs={"gb": 101}, snapshot=Snapshot(revision=1))
    assert denied.because == ["quota storage: 80 of 100 used, 21 asked"]
    allowed = world.ask("r5", action="rollback", inputs={"tier": "gold"}, snapshot=Snapshot(revision=1))
    assert kinds(allowed) == [RequestAllowed], "its inputs replace those there are: without a size it counts 1"
    assert allowed[0].quotas[0].asked == 0


def test_what_a_reconcile_puts_right_is_counted_already_and_reserves_nothing(world: World) -> None:
    world.apply("Quota", "storage", sum="resource.inputs.gb", limit=100)
    world.exists("orders", gb=80)
    (allowed,) = world.ask("r2", action="reconcile", inputs={})
    assert [(one.used, one.asked) for one in allowed.quotas] == [(80, 0)]
    world.exists("orders", "r3", gb=10)
    assert kinds(world.ask("r4", resource_id="b", name="b", inputs={"gb": 90})) == [RequestAllowed]


@pytest.mark.parametrize("action", ["extend", "pause", "unpause", "delete", "rotate"])
def test_what_changes_no_size_is_not_counted(world: World, action: str) -> None:
    world.apply("Quota", "databases", limit=0)
    (allowed,) = world.ask("r1", action=action, inputs={})
    assert (type(allowed), allowed.quotas) == (RequestAllowed, None)


@pytest.mark.parametrize("action", ["adopt", "reconcile", "rollback", "pause", "unpause"])
def test_locks_and_windows_hold_every_action(world: World, action: str) -> None:
    world.apply("Window", "nights", effect="allow", cron="0 22 * * *", duration="2h", because="at night")
    world.lock(action=action)
    (held,) = world.ask("r1", action=action, inputs={})
    assert [one.kind for one in held.holds] == ["lock", "window"]
    assert kinds(world.hear(LockLifted(lock_id="l1", by="user:eve"))) == [RequestHeld]
    assert kinds(world.until(AT.replace(hour=22))) == [RequestAllowed]


# Questions that requests bring along

QUESTION = Question.model_validate({"from": ["user:bob", "user:bob"], "because": "the replicas have drifted"})
DRIFT: dict[str, Any] = {
    "action": "reconcile",
    "inputs": {},
    "actor": Actor(id="system:drift", groups=[]),
    "question": QUESTION,
}


def test_a_question_is_asked_whatever_the_policies_say(world: World) -> None:
    (asked,) = world.ask(**DRIFT)
    assert (asked.policy, asked.approvers, asked.count, asked.because) == (
        "question",
        ["user:bob"],
        1,
        "the replicas have drifted",
    )
    assert asked.expires_at == AT + timedelta(hours=72)
    assert [(one.policy, one.version, one.effect, one.matched) for one in asked.verdicts] == [
        ("question", "built-in", "approve", True)
    ]
    assert kinds(world.answer(asked, by="user:eve", groups=["platform"])) == [AnswerRefused]
    granted, allowed = world.answer(asked, groups=())
    assert kinds([granted, allowed]) == [ApprovalGranted, RequestAllowed]
    assert (allowed.approvals, allowed.verdicts[0].because) == ([asked.approval_id], "the replicas have drifted")


def test_a_question_that_nobody_answers_expires_after_three_days(world: World) -> None:
    world.ask(**DRIFT)
    assert world.pass_time(timedelta(hours=71, minutes=59)) == []
    assert kinds(world.pass_time(timedelta(minutes=1))) == [ApprovalExpired]


def test_a_no_to_a_question_ends_the_request(world: World) -> None:
    (asked,) = world.ask(**DRIFT)
    (rejected,) = world.answer(asked, what="rejected", groups=())
    assert (type(rejected), rejected.policy) == (ApprovalRejected, "question")
    assert world.pass_time(timedelta(days=4)) == []


def test_a_question_stands_beside_what_policies_ask_and_behind_what_they_forbid(world: World) -> None:
    world.policy("eyes", ASK)
    first, second = world.ask(**DRIFT)
    assert {first.policy, second.policy} == {"eyes", "question"}
    assert kinds(world.answer(first) + world.answer(second, groups=())) == [
        *(ApprovalGranted, ApprovalGranted, RequestAllowed),
    ]
    world.policy("never", {"deny": 'request.action == "reconcile"', "because": "not today"})
    assert kinds(world.ask("r2", **DRIFT)) == [RequestDenied]


def test_a_question_comes_after_the_plan_and_is_about_it(world: World) -> None:
    world.policy("plans", LOOKS)
    assert kinds(world.ask(**DRIFT)) == [PlanRequested]
    (asked,) = world.plan()
    assert (asked.policy, asked.plan.digest) == ("question", "p1")
    granted, allowed = world.answer(asked, groups=())
    assert (granted.plan_digest, allowed.plan_digest) == ("p1", "p1")


def test_a_question_is_held_by_a_lock_only_when_it_is_answered(world: World) -> None:
    world.lock(project="shop")
    (asked,) = world.ask(**DRIFT)
    assert kinds(world.answer(asked, groups=())) == [ApprovalGranted, RequestHeld]


def test_no_waiver_and_no_policy_takes_a_question_away(world: World) -> None:
    world.waive("Policy/question", AT + timedelta(days=1))
    world.policy("question", {"deny": "false", "because": "never"})
    (asked,) = world.ask(**DRIFT)
    world.hear(ManifestRemoved(kind="Policy", name="question"))
    assert kinds(world.answer(asked, groups=())) == [ApprovalGranted, RequestAllowed]


def test_who_is_asked_by_a_question_is_taken_as_it_is_written(world: World) -> None:
    names = ["${actor.id}", "owner:service/cart", "group:sre\n"]
    question = Question.model_validate({"from": names, "because": "${request.id}"})
    (asked,) = world.ask(**DRIFT | {"question": question})
    assert (asked.approvers, asked.because) == (names, "${request.id}")
    assert kinds(world.answer(asked, by="system:drift", groups=["sre"])) == [AnswerRefused]


def test_whoever_asks_does_not_answer_their_own_question(world: World) -> None:
    (asked,) = world.ask(**DRIFT | {"actor": Actor(id="user:bob", groups=[])})
    (refused,) = world.answer(asked, groups=())
    assert refused.reason.startswith("own request")


def test_a_dry_run_is_counted_but_takes_nothing(world: World) -> None:
    world.apply("Quota", "databases", limit=1)
    assert kinds(world.ask("r1", dry_run=True)) == [RequestAllowed]
    assert kinds(world.ask("r2")) == [RequestAllowed]
    assert kinds(world.ask("r3", dry_run=True, resource_id="x", name="x")) == [RequestDenied]


# Breaking the glass


GLASS = {"breakGlass": {"by": ["group:oncall"], "review": {"from": ["group:security"], "within": "3d"}}}
ONCALL = Actor(id="user:grace", groups=["oncall"])


def test_a_broken_glass_is_told_of_and_reviewed(world: World) -> None:
    world.policy("emergencies", GLASS)
    world.policy("eyes", ASK, LOOKS)
    world.lock()
    allowed, broken, review = world.ask(actor=ONCALL, break_glass="the shop is down")
    assert isinstance(allowed, RequestAllowed)
    assert allowed.glass_broken
    assert isinstance(broken, GlassBroken)
    assert broken.reason == "the shop is down"
    assert broken.bypassed == [
        "policy eyes looks at the plan",
        "policy eyes asks group:sre",
        "lock l1 by user:eve: a migration",
    ]
    assert isinstance(review, ApprovalRequested)
    assert review.review
    assert broken.review_id == review.approval_id
    assert broken.review_by == AT + timedelta(days=3)
    assert world.pass_time(timedelta(days=2)) == []
    assert kinds(world.pass_time(timedelta(days=2))) == [ApprovalReminded, ApprovalReminded]
    (own,) = world.answer(review, "user:grace", groups=["security"])
    assert own.reason.startswith("own request")
    (signed,) = world.answer(review, "user:sam", groups=["security"])
    assert isinstance(signed, ApprovalGranted)
    assert signed.review
    assert world.pass_time(timedelta(days=9)) == []


def test_an_objection_to_a_broken_glass_is_recorded_and_changes_nothing(world: World) -> None:
    world.policy("emergencies", GLASS)
    world.policy("eyes", ASK)
    *_, review = world.ask(actor=ONCALL, break_glass="the shop is down")
    (objected,) = world.answer(review, "user:sam", "rejected", groups=["security"])
    assert objected.review


def test_a_glass_may_be_asked_to_break_in_vain(world: World) -> None:
    world.policy("emergencies", GLASS)
    assert kinds(world.ask("r1", actor=ONCALL, break_glass="x")) == [RequestAllowed], "nothing stood in the way"
    world.policy("eyes", ASK)
    assert kinds(world.ask("r2", break_glass="x")) == [ApprovalRequested], "ada is not on call"
    world.hear(ManifestRemoved(kind="Policy", name="emergencies"))
    assert kinds(world.ask("r3", actor=ONCALL, break_glass="x")) == [ApprovalRequested], "nobody may"


def test_a_glass_that_nobody_could_break_is_not_broken_by_a_later_policy(world: World) -> None:
    world.policy("eyes", ASK)
    world.ask(actor=ONCALL, break_glass="the shop is down")
    assert world.policy("emergencies", GLASS) == []


# The catalog


def entity(world: World, revision: int, *changed: str, **entity: Any) -> list[Any]:
    document = {"blueprint": "service", "identifier": "orders", **entity}
    names = {"blueprint": "service", "identifier": "orders"}
    return world.hear(EntityChanged(**names, revision=revision, entity=document, changed=list(changed)))


def test_rules_may_look_at_the_catalog_and_its_scorecards(world: World) -> None:
    gate = 'catalog.entity("service", request.name).scorecards["ready"].rank < 2'
    world.policy("ready", {"deny": gate, "because": "not silver yet"})
    (denied,) = world.ask("r1")
    assert "the catalog has no service orders" in denied.because[0]
    entity(world, 1, properties={})
    (denied,) = world.ask("r2")
    assert denied.verdicts[0].missing == 'catalog.entity("service", request.name).scorecards.ready'
    rule = ScorecardRule(name="runbook", level="silver", passed=True)

    def rate(rank: int, *rules: ScorecardRule) -> None:
        fact = ScorecardChanged(
            scorecard="ready", blueprint="service", identifier="orders", rank=rank, rules=list(rules)
        )
        world.hear(fact)

    rate(1, rule)
    assert world.ask("r3")[0].because == ["not silver yet"]
    rate(2, rule)
    assert kinds(world.ask("r4")) == [RequestAllowed]
    rate(0)
    assert kinds(world.ask("r5")) == [RequestDenied]


def test_a_gate_that_shuts_while_people_think_denies_what_they_grant(world: World) -> None:
    gate = 'catalog.entity("service", request.name).properties.lifecycle == "deprecated"'
    world.policy("alive", {"deny": gate, "because": "deprecated"}, {"approve": {"from": ["group:sre"]}})
    entity(world, 1, properties={"lifecycle": "production"})
    changed, removed = world.ask("r1")[0], world.ask("r2")[0]
    assert kinds([changed, removed]) == [ApprovalRequested, ApprovalRequested]
    entity(world, 2, properties={"lifecycle": "deprecated"})
    assert world.answer(changed)[-1].because == ["deprecated"]
    world.hear(EntityRemoved(blueprint="service", identifier="orders", revision=3))
    denied = world.answer(removed)[-1]
    assert isinstance(denied, RequestDenied)
    assert "rule 0, can't be evaluated" in denied.because[0]
    assert "the catalog has no service orders" in denied.because[0]


def test_the_owner_that_the_catalog_names_is_asked(world: World) -> None:
    world.policy("owners", {"approve": {"from": ["owner:service/${request.name}", "user:eve"]}})
    (denied,) = world.ask("r1")
    assert "nobody can be asked: the catalog has no service orders" in denied.because[0]
    entity(world, 1, team="cart")
    assert world.ask("r2")[0].approvers == ["group:cart", "user:eve"]
    entity(world, 2, team=["user:max", "cart"])
    entity(world, 1, team="older")
    assert world.ask("r3")[0].approvers == ["user:max", "group:cart", "user:eve"]
    entity(world, 3)
    assert "names no owner" in world.ask("r4")[0].because[0]


def test_a_new_owner_is_asked_in_place_of_the_one_before(world: World) -> None:
    world.policy("owners", {"approve": {"from": ["owner:service/${request.name}"]}})
    entity(world, 1, team="cart")
    (asked,) = world.ask()
    assert entity(world, 2, "/properties/team", team="cart", properties={"team": "x"}) == []
    closed, anew = entity(world, 3, "/team", team="shop")
    assert (type(closed), closed.approval_id, anew.approvers) == (ApprovalClosed, asked.approval_id, ["group:shop"])
    (refused,) = world.answer(asked, groups=["cart"])
    assert isinstance(refused, AnswerRefused)
    (denied,) = entity(world, 4, "/team")
    assert "names no owner" in denied.because[0]


# What it is an answer to


def test_what_is_said_later_belongs_to_the_request_and_not_to_what_set_it_free(world: World) -> None:
    world.lock()
    world.ask()
    submitted = world.emits[-1].cause
    world.hear(LockLifted(lock_id="l1", by="user:eve"))
    assert world.emits[-1].cause == submitted
    assert isinstance(world.emits[-1].data, RequestAllowed)
