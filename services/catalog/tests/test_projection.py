"""Batches of events on a real store: what the rows show, and what the catalog says."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from entresol_catalog.app import MIGRATIONS
from entresol_catalog.domain.approvals import Approval
from entresol_catalog.domain.entities import Entity
from entresol_catalog.domain.listings import DeadLetter, Notification, Token
from entresol_catalog.domain.locks import Lock, Waiver
from entresol_catalog.domain.requests import Request
from entresol_catalog.domain.resources import Resource
from entresol_catalog.handlers.projection import projection
from entresol_catalog.settings import Settings
from entresol_catalog.store import tables
from entresol_catalog.store.shelf import adapter
from entresol_catalog.workers import standing, tell
from entresol_contracts import events as facts
from entresol_eventing.envelope import Event, decode
from entresol_eventing.reactions import Emit
from entresol_eventing.testing import assert_migrations_match, event, memory_session
from sqlalchemy import Table, select
from sqlmodel import Session

from services.catalog.tests.conftest import whole_lives

Project = Callable[..., list[Emit]]
BEGAN = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
PATIENCE = Settings().patience_seconds
ENTITY = {"blueprint": "Resource", "identifier": "orders", "properties": {"type": "postgres"}, "relations": {}}


def rows(session: Session, table: Table) -> list[Any]:
    return list(session.execute(select(table).order_by(table.c.position)))


def only(session: Session, table: Table, kind: type[Any]) -> Any:
    (row,) = rows(session, table)
    return adapter(kind).validate_json(row.document)


def test_a_whole_life_in_one_batch_or_in_many_gives_the_same(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one, other = traffic(), traffic(name="others")
    said = project(*one.whole(ENTITY))
    for single in other.whole(ENTITY | {"identifier": "others"}):
        said += project(single)
    first, second = (adapter(Request).validate_json(row.document) for row in rows(session, tables.request))
    for field in ("id", "correlationid", "name", "resource"):
        setattr(second, field, getattr(first, field))
    assert first == second
    assert (first.state, first.revision, first.outputs) == ("succeeded", 5, {"host": "db"})
    assert [type(one.data).__name__ for one in said] == 2 * ["RequestCompleted", "EntityChanged"]


def test_the_end_is_said_once_in_the_chain_of_what_ended_it(project: Project, traffic: type[Any]) -> None:
    one = traffic()
    chain = [one.submitted(), one.allowed(), one.started(), one.failed()]
    late = [one.stopped(), one.succeeded()]
    (said,) = project(*chain, *late)
    assert project(one.succeeded()) == []
    assert (said.subject, said.partitionkey, said.cause) == (one.id, one.resource, chain[-1].cause)
    assert isinstance(said.data, facts.RequestCompleted)
    assert (said.data.outcome, said.data.because, said.data.duration_ms) == (
        "failed",
        ["step database: no space"],
        3000,
    )
    assert said.data.waits == {"policy": 1000, "queue": 1000, "run": 1000}


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (lambda one: [one.denied()], "denied"),
        (lambda one: [one.asked(), one.ended(facts.ApprovalRejected, "rejected")], "rejected"),
        (lambda one: [one.asked(), one.ended(facts.ApprovalExpired)], "expired"),
        (lambda one: [one.asked(), one.cancelled(), one.stopped()], "cancelled"),
        (
            lambda one: [one.asked(), one.ended(facts.ApprovalGranted, "granted"), one.allowed(), one.succeeded()],
            "succeeded",
        ),
    ],
)
def test_every_end_is_said(project: Project, traffic: type[Any], ending: Any, outcome: str) -> None:
    one = traffic()
    said = project(one.submitted(), *ending(one))
    assert [item.data.outcome for item in said if isinstance(item.data, facts.RequestCompleted)] == [outcome]


def test_facts_of_an_unknown_request_are_only_history(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    assert project(one.allowed(), one.succeeded()) == []
    assert rows(session, tables.request) == []
    assert [row.position for row in rows(session, tables.history)] == [1, 2]


def test_history_keeps_every_event_as_it_was(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    chain: list[Event[Any]] = one.whole()
    chain.append(event(facts.RequestStalled(**one.about, state="s", expected="policy", since=one.at)))
    project(*chain)
    kept = rows(session, tables.history)
    assert [decode(row.body.encode()) for row in kept] == chain
    assert {(row.request_id, row.project) for row in kept} == {(one.id, "shop")}


def test_a_review_is_kept_up_when_its_request_has_ended(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    project(one.submitted(), one.allowed(glass_broken=True), one.broken())
    project(one.asked("review-1", hours=48, review=True), one.started(), one.succeeded())
    project(*one.heard("review-1", "rejected"))
    due = one.at + timedelta(hours=1)
    reminded = one.approval(facts.ApprovalReminded, "review-1", approvers=["group:sre"], expires_at=due, review=True)
    project(reminded)
    assert only(session, tables.approval, Approval).reminded_at == reminded.time
    assert standing(session, due).reviews == 1
    said = project(one.ended(facts.ApprovalRejected, "rejected", "review-1", review=True))
    assert said == [], "an objection ends nothing"
    approval = only(session, tables.approval, Approval)
    request = only(session, tables.request, Request)
    assert (approval.state, approval.review, approval.answers[0].by) == ("rejected", True, "user:bob")
    assert request.approvals == [approval]
    assert (request.state, request.glass.bypassed, request.glass.review_id) == (
        "succeeded",
        ["window no-fridays"],
        "review-1",
    )
    assert standing(session, due).reviews == 0


def test_an_override_is_shown_and_whether_it_counts(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    about = {**one.about, "by": "user:bob", "reason": "it burns"}
    wanted, again = (one.say(facts.HoldOverridden(**about, groups=["sre"])) for _ in range(2))
    project(one.submitted(), one.held(None), wanted, again)
    assert [each.counts for each in only(session, tables.request, Request).overrides] == [None, None]
    refused = facts.OverrideRefused(request_id=one.id, project="shop", by="user:bob", reason="locks are not overridden")
    project(one.say(refused, causationid=again.id))
    request = only(session, tables.request, Request)
    assert [(each.counts, each.refused) for each in request.overrides] == [
        (None, None),
        (False, "locks are not overridden"),
    ]
    assert (request.state, request.waiting_for) == ("held", "lock lock-0 by user:ada: the ledger moves")
    assert standing(session, one.at).held == 1
    project(one.say(facts.OverrideCounted(**about, holds=[]), causationid=wanted.id))
    assert [each.counts for each in only(session, tables.request, Request).overrides] == [True, False]


def test_who_rejects_without_a_reason_is_named(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    no = facts.Answer(by="user:bob", answer="rejected", at=one.at)
    rejected = facts.ApprovalRejected(**one.about, approval_id="approval-1", policy="production", answers=[no])
    project(one.submitted(), one.asked(), one.say(rejected))
    assert only(session, tables.request, Request).because == ["rejected by user:bob"]


def test_approvals_follow_their_request(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    project(one.submitted(), one.asked())
    assert [row.state for row in rows(session, tables.approval)] == ["pending"]
    project(one.cancelled(), one.stopped())
    approval = only(session, tables.approval, Approval)
    assert (approval.state, approval.request, approval.project) == ("closed", one.id, "shop")


def test_a_resource_lives_warns_and_ends(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    ends = one.at + timedelta(days=1)
    about = {"resource_id": one.resource, "project": "shop", **one.names}

    def shown() -> Resource:
        found: Resource = only(session, tables.resource, Resource)
        return found

    project(one.provisioned(ENTITY, expires_at=ends))
    assert (shown().state, shown().expires_at, shown().owner) == ("provisioned", ends, "user:ada")
    project(one.say(facts.ResourceExpiring(**about, owner="user:ada", expires_at=ends, remaining_seconds=60)))
    assert shown().state == "expiring"
    later = ends + timedelta(days=1)
    project(one.say(facts.ResourceExtended(**about, request_id="r2", expires_at=later)))
    assert (shown().state, shown().expires_at, shown().request) == ("provisioned", later, "r2")
    project(one.say(facts.ResourceExpiring(**about, owner="user:ada", expires_at=ends, remaining_seconds=60)))
    assert shown().state == "provisioned"
    project(one.say(facts.ResourceExpired(**about, owner="user:ada", expired_at=later)))
    assert shown().state == "expired"
    (removed,) = project(one.deleted(), one.changed(), one.provisioned())
    assert isinstance(removed.data, facts.EntityRemoved)
    assert (shown().state, shown().entity, shown().revision) == ("deleted", None, 5)
    again = traffic()
    project(again.provisioned())
    assert (shown().state, shown().revision) == ("provisioned", 6)


def test_a_resource_that_becomes_another_entity_leaves_the_old_one(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one = traffic()
    project(one.provisioned(ENTITY))
    said = project(one.changed(ENTITY | {"identifier": "renamed"}))
    assert [(type(item.data).__name__, item.data.identifier) for item in said] == [  # type: ignore[attr-defined]
        ("EntityRemoved", "orders"),
        ("EntityChanged", "renamed"),
    ]
    assert [row.removed for row in rows(session, tables.entity)] == [True, False]


def test_declared_entities_change_only_when_something_differs(session: Session, project: Project) -> None:
    def declared(**changes: Any) -> Event[Any]:
        sane = {"blueprint": "System", "identifier": "Cart", "properties": {}, "relations": {"domain": "Orders"}}
        return event(facts.EntityDeclared(**(sane | changes)))

    (first,) = project(declared(), declared())
    assert (first.subject, first.sequence) == ("System/Cart", 1)
    (second,) = project(declared(relations={"domain": ["Orders", "Shop"]}, title="Cart"))
    assert isinstance(second.data, facts.EntityChanged)
    assert second.data.changed == ["/title", "/relations/domain"]
    assert second.data.entity["relations"] == {"domain": ["Orders", "Shop"]}
    assert sorted(session.execute(select(tables.relation.c.target)).scalars()) == ["Orders", "Shop"]
    (third,) = project(event(facts.EntityWithdrawn(blueprint="System", identifier="Cart")))
    assert isinstance(third.data, facts.EntityRemoved)
    assert (third.data.revision, list(session.execute(select(tables.relation)))) == (3, [])
    assert only(session, tables.entity, Entity).document is None


def test_the_catalogs_own_facts_are_history_and_nothing_else(session: Session, project: Project) -> None:
    changed = facts.EntityChanged(blueprint="System", identifier="Cart", revision=7, entity={}, changed=[])
    assert project(event(changed)) == []
    assert rows(session, tables.entity) == []
    assert len(rows(session, tables.history)) == 1


def test_a_revoked_token_stays_revoked_whatever_comes_first(session: Session, project: Project) -> None:
    issued = facts.TokenIssued(token_id="t", hash="h", actor="user:ada", groups=[], role="viewer", projects=["*"])
    project(event(facts.TokenRevoked(token_id="t")), event(issued))
    token: Token = only(session, tables.token, Token)
    assert not token.valid(token.issued_at)


def test_dead_letters_wait_until_somebody_decides(session: Session, project: Project) -> None:
    letter = facts.MessageQuarantined(
        message_id="m", service="catalog", reason="no", attempts=8, log_subject="s", size_bytes=1, digest="d"
    )
    project(event(letter, source="/entresol/catalog"))
    assert only(session, tables.dead_letter, DeadLetter).state == "waiting"
    project(event(facts.MessageDiscarded(message_id="m", service="catalog", reason="old", by="user:ada")))
    found = only(session, tables.dead_letter, DeadLetter)
    assert (found.state, found.ended_by) == ("discarded", "user:ada")


LOCK = {"reason": "the ledger moves", "by": "user:ada", "exempt": ["group:sre"]}
WAIVER = {"waives": "Policy/sizes", "reason": "a sale", "ticket": "OPS-1", "by": "user:ada", "until": BEGAN}


def test_a_lock_ends_once_and_stays_to_be_seen(session: Session, project: Project) -> None:
    placed = event(facts.LockPlaced(lock_id="one", scope=facts.Scope(project="shop", action="delete"), **LOCK))
    project(placed, placed, event(facts.LockPlaced(lock_id="two", scope=facts.Scope(), **LOCK)))
    lifted = event(facts.LockLifted(lock_id="one", by="user:bob", reason="moved"))
    project(lifted, event(facts.LockExpired(lock_id="one")), event(facts.LockExpired(lock_id="two")))
    first, second = (adapter(Lock).validate_json(row.document) for row in rows(session, tables.lock))
    assert (first.state, first.ended, first.ended_by, first.ended_because) == ("ended", "lifted", "user:bob", "moved")
    assert (first.ended_at, first.scope.action, first.exempt) == (lifted.time, "delete", ["group:sre"])
    assert (second.state, second.ended, second.ended_by) == ("ended", "expired", None)


def test_a_waiver_ends_once_and_stays_to_be_seen(session: Session, project: Project) -> None:
    granted = facts.WaiverGranted(waiver_id="one", scope=facts.Scope(environment="prod"), rule=2, **WAIVER)
    project(event(granted), event(facts.WaiverGranted(waiver_id="two", scope=facts.Scope(), **WAIVER)))
    project(event(facts.WaiverRevoked(waiver_id="one", by="user:bob")), event(granted))
    project(*(event(facts.WaiverExpired(waiver_id=name, waives="Policy/sizes")) for name in ("one", "two")))
    first, second = (adapter(Waiver).validate_json(row.document) for row in rows(session, tables.waiver))
    assert (first.ended, first.ended_by, first.rule, first.ticket) == ("revoked", "user:bob", 2, "OPS-1")
    assert (second.ended, second.waives, second.until) == ("expired", "Policy/sizes", BEGAN)


def test_what_is_about_a_project_is_of_that_project_and_what_is_about_none_is_of_all(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one = traffic("shop")
    scopes = [
        facts.Scope(environment="prod"),
        facts.Scope(project="shop", environment="prod"),
        facts.Scope(resource="bank/prod/database/orders"),
        facts.Scope(request=one.id),
        facts.Scope(request="nothing"),
    ]
    project(one.submitted())
    for number, scope in enumerate(scopes):
        project(event(facts.LockPlaced(lock_id=f"l{number}", scope=scope, **LOCK)))
        project(event(facts.WaiverGranted(waiver_id=f"w{number}", scope=scope, **WAIVER)))
    expected = [None, "shop", "bank", "shop", ""]
    assert [row.project for row in rows(session, tables.lock)] == expected
    assert [row.project for row in rows(session, tables.waiver)] == expected
    project(*(event(facts.LockLifted(lock_id=f"l{number}", by="user:ada")) for number in range(5)))
    project(event(facts.LockExpired(lock_id="unknown")))
    lifted = [row.project for row in rows(session, tables.history) if ".lock." in row.type][5:]
    assert lifted == [*expected, ""]


def test_a_notification_belongs_to_the_project_it_tells_of(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one = traffic()
    about = {"delivery_id": "d", "channel": "c", "route": "r", "event_id": "e", "event_type": "t"}
    failed = one.say(facts.NotificationFailed(**about, attempts=3, reason="gone"))
    delivered = one.say(facts.NotificationDelivered(**about, attempts=4))
    project(one.submitted(), failed)
    project(delivered, failed)
    found: Notification = only(session, tables.notification, Notification)
    assert (found.state, found.attempts, found.project) == ("delivered", 4, "shop")
    assert {row.project for row in rows(session, tables.history)} == {"shop"}


def test_a_request_that_nobody_moves_is_told_of_once(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    submitted, allowed = one.submitted(), one.allowed()
    project(submitted, allowed)
    too_early, late = one.at + timedelta(seconds=299), one.at + timedelta(seconds=301)
    assert list(tell(session, too_early, PATIENCE)) == []
    (said,) = tell(session, late, PATIENCE)
    assert isinstance(said.data, facts.RequestStalled)
    assert (said.data.state, said.data.expected, said.data.since) == ("allowed", "provisioning", one.at)
    assert said.cause == allowed.cause
    assert list(tell(session, late, PATIENCE)) == []
    project(event(said.data, correlationid=one.id))
    assert only(session, tables.request, Request).stalled_since == one.at
    project(one.started())
    assert only(session, tables.request, Request).stalled_since is None


def told(session: Session, at: datetime) -> list[Any]:
    return [one.data for one in tell(session, at, PATIENCE)]


@pytest.mark.parametrize(
    ("who", "seconds", "said"),
    [
        ("policy", 60, ["submitted"]),
        ("provisioning", 60, ["submitted", "cancelled"]),
        ("policy", 4 * 3600 + 59, ["submitted", "asked"]),
        ("provisioning", 60, ["submitted", "asked", "cancelled"]),
        ("provisioning", 300, ["submitted", "plan_wanted"]),
        ("policy", 60, ["submitted", "plan_wanted", "planned"]),
        ("provisioning", 300, ["submitted", "plan_wanted", "planned", "allowed"]),
        ("provisioning", 300, ["submitted", "allowed"]),
        ("provisioning", 300, ["submitted", "allowed", "cancelled"]),
        ("provisioning", 3600, ["submitted", "allowed", "started"]),
        ("provisioning", 3600, ["submitted", "allowed", "started", "retrying"]),
        ("provisioning", 3600, ["submitted", "allowed", "started", "cancelled"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_every_state_in_which_a_request_waits_has_somebody_who_is_expected_to_move_it(
    session: Session, project: Project, traffic: type[Any], who: str, seconds: float, said: list[str]
) -> None:
    one = traffic()
    for fact in said:
        project(one.progressed(state="retrying") if fact == "retrying" else getattr(one, fact)())
    assert told(session, one.at + timedelta(seconds=seconds - 1)) == []
    (stalled,) = told(session, one.at + timedelta(seconds=seconds + 1))
    assert (stalled.expected, stalled.since) == (who, one.at)


def test_a_request_that_waits_behind_a_run_on_its_resource_does_not_stall(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    first, second = traffic(), traffic(action="update")
    project(first.submitted(), first.allowed(), first.started(), second.submitted(), second.allowed())
    hour = timedelta(minutes=50)
    assert told(session, second.at + hour) == [], "the first run may take an hour"
    first.at = second.at + hour
    project(first.succeeded())
    assert told(session, first.at + timedelta(seconds=299)) == [], "its own time begins when the resource is free"
    (said,) = told(session, first.at + timedelta(seconds=900))
    assert (said.request_id, said.expected) == (second.id, "provisioning")


def test_a_request_that_is_held_stalls_after_the_latest_end_of_what_holds_it(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one = traffic()
    ends = one.at + timedelta(hours=5)
    project(one.submitted(), one.held(one.at + timedelta(hours=1), ends))
    assert told(session, ends + timedelta(seconds=59)) == []
    (said,) = told(session, ends + timedelta(seconds=61))
    assert (said.state, said.expected, said.since) == ("held", "policy", one.at)


def test_a_request_that_somebody_has_to_let_go_never_stalls(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one = traffic()
    project(one.submitted(), one.held(one.at + timedelta(minutes=1), None))
    for hours in (1, 3, 24, 24 * 30):
        assert told(session, one.at + timedelta(hours=hours)) == []
    assert standing(session, one.at).stalled == 0
    (later,) = session.execute(select(tables.request.c.check_at)).scalars()
    assert later == one.at + timedelta(hours=24 * 30 + 1)


def test_two_that_wait_for_each_other_are_no_excuse(session: Session, project: Project, traffic: type[Any]) -> None:
    first, second = traffic(), traffic(action="update")
    project(first.submitted(), first.allowed(), second.submitted(), second.allowed())
    assert len(told(session, second.at + timedelta(seconds=301))) == 2


def test_a_step_may_take_as_long_as_its_offering_says(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    steps = [{"name": "database", "driver": "noop", "timeout": "4h"}]
    offering = {"kind": "Offering", "spec": {"actions": {"create": {"steps": steps}}}}
    applied = facts.ManifestApplied(kind="Offering", name="database", version="1.0.0", digest="d", manifest=offering)
    project(event(applied), one.submitted(), one.allowed(), one.started())
    assert told(session, one.at + timedelta(hours=4, minutes=59)) == []
    (said,) = told(session, one.at + timedelta(hours=5, minutes=1))
    assert said.state == "running"


def test_a_step_of_an_implementation_or_of_another_action_may_take_as_long_as_it_says(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one = traffic(action="reconcile")
    steps = [{"name": "database", "driver": "noop", "timeout": "4h"}]
    create: dict[str, Any] = {"create": {"steps": []}}
    spec = {"actions": create, "implementations": [{"name": "cloud", "actions": {"create": {"steps": steps}}}]}
    manifest = {"kind": "Offering", "spec": spec}
    applied = facts.ManifestApplied(kind="Offering", name="database", version="1.0.0", digest="d", manifest=manifest)
    project(event(applied), one.submitted(), one.allowed(), one.started())
    assert told(session, one.at + timedelta(hours=4, minutes=59)) == []
    assert len(told(session, one.at + timedelta(hours=5, minutes=1))) == 1


def test_a_suspended_step_is_overdue_only_after_its_time(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one = traffic()
    until = one.at + timedelta(hours=20)
    project(one.submitted(), one.allowed(), one.started(), one.suspended(until=until))
    assert told(session, until + timedelta(seconds=3599)) == []
    (said,) = told(session, until + timedelta(seconds=3601))
    assert (said.state, said.expected, said.since) == ("running", "provisioning", one.at)
    project(event(said, correlationid=one.id), one.progressed())
    assert only(session, tables.request, Request).stalled_since is None


@pytest.mark.parametrize("ending", ["progressed", "cancelled"])
def test_a_wait_that_is_over_is_no_excuse(session: Session, project: Project, traffic: type[Any], ending: str) -> None:
    one = traffic()
    until = one.at + timedelta(hours=20)
    project(one.submitted(), one.allowed(), one.started(), one.suspended(until=until), getattr(one, ending)())
    assert len(told(session, one.at + timedelta(seconds=3601))) == 1


def test_a_suspended_step_without_an_end_never_stalls(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    project(one.submitted(), one.allowed(), one.started(), one.suspended(resumable=True))
    for hours in (2, 24, 24 * 30):
        assert told(session, one.at + timedelta(hours=hours)) == []
    project(one.resumed())
    assert only(session, tables.request, Request).waiting_for == "step database, resumed by user:bob: the job runs"


def test_another_step_that_may_take_long_is_waited_for_beside_a_suspended_one(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    one = traffic()
    steps = [{"name": "database", "timeout": "9h"}, {"name": "dns"}]
    manifest = {"kind": "Offering", "spec": {"actions": {"create": {"steps": steps}}}}
    applied = facts.ManifestApplied(kind="Offering", name="database", version="1.0.0", digest="d", manifest=manifest)
    project(event(applied), one.submitted(), one.allowed(), one.started("database", "dns"))
    project(one.suspended("dns", until=one.at + timedelta(hours=1)))
    assert told(session, one.at + timedelta(hours=9, minutes=59)) == []
    assert len(told(session, one.at + timedelta(hours=10, minutes=1))) == 1


def test_a_run_goes_on_when_what_it_needs_is_there(session: Session, project: Project, traffic: type[Any]) -> None:
    parent, child, other = traffic(), traffic(name="queue"), traffic("bank", name="other")
    requirement = facts.Requirement(request_id=parent.id, resource_id=parent.resource, name="queue")
    child.made_for(requirement=requirement)

    def shown(request_id: str) -> Request:
        (document,) = session.execute(
            select(tables.request.c.document).where(tables.request.c.id == request_id)
        ).scalars()
        return adapter(Request).validate_json(document)

    project(parent.submitted(), parent.allowed(), parent.started(), parent.needs(child), parent.needs(other, "other"))
    project(parent.suspended("queue", "it is made", requires=child.id), parent.refused(other, "other"))
    assert [(one.name, one.request, one.outcome) for one in shown(parent.id).requires] == [
        ("queue", child.id, None),
        ("other", other.id, "refused"),
    ]
    assert [one.requires for one in shown(parent.id).suspended] == [child.id]
    project(child.submitted(), child.allowed())
    made_for = shown(child.id).requirement
    assert made_for is not None
    assert (made_for.request_id, made_for.resource_id, made_for.name) == (parent.id, parent.resource, "queue")
    (said,) = project(child.started(), child.failed())
    assert said.subject == child.id, "only the child has ended"
    need = shown(parent.id).requires[0]
    assert (need.outcome, need.because) == ("failed", "step database: no space")
    assert (shown(parent.id).suspended, shown(parent.id).state) == ([], "running")


def test_why_a_request_of_another_project_has_ended_is_not_told(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    parent, child = traffic(), traffic("bank", name="ledger")
    child.made_for(requirement=facts.Requirement(request_id=parent.id, resource_id=parent.resource, name="ledger"))
    project(parent.submitted(), parent.started(), parent.needs(child, "ledger"), child.submitted(), child.denied())
    row = next(row for row in rows(session, tables.request) if row.id == parent.id)
    (need,) = adapter(Request).validate_json(row.document).requires
    assert (need.outcome, need.because) == ("denied", None)


def test_a_request_that_is_made_for_one_that_nobody_knows_ends_all_the_same(
    session: Session, project: Project, traffic: type[Any]
) -> None:
    child = traffic()
    child.made_for(requirement=facts.Requirement(request_id="nobody", resource_id="a/b/c/d", name="queue"))
    (said,) = project(child.submitted(), child.denied())
    assert isinstance(said.data, facts.RequestCompleted)


def test_a_request_that_is_made_for_itself_ends_once(project: Project, traffic: type[Any]) -> None:
    one = traffic()
    one.made_for(requirement=facts.Requirement(request_id=one.id, resource_id=one.resource, name="queue"))
    assert len(project(one.submitted(), one.needs(one), one.started(), one.failed(), one.succeeded())) == 1


def test_what_a_request_is_asked_to_do_is_shown(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic(action="delete", orphan=True, snapshot=facts.Snapshot(revision=3), **{"class": "cheap"})
    project(one.submitted())
    (row,) = rows(session, tables.request)
    document = json.loads(row.document)
    assert (document["class"], document["orphan"], document["snapshot"]) == (
        *("cheap", True, {"revision": 3, "request_id": None}),
    )


def test_what_a_step_is_told_is_not_shown(session: Session, project: Project, traffic: type[Any]) -> None:
    one = traffic()
    project(one.submitted(), one.started(), one.suspended(resumable=True), one.resumed())
    assert "hunter2" not in rows(session, tables.request)[0].document


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    assert_migrations_match(MIGRATIONS, tables.metadata, tmp_path)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_picture_does_not_depend_on_how_the_log_is_cut(traffic: type[Any], size: int) -> None:
    chains = [traffic(name=f"n{number}") for number in range(4)]
    lives = [one.whole(ENTITY | {"identifier": f"e{number % 2}"}) for number, one in enumerate(chains)]
    lives[1] = [chains[1].submitted(), chains[1].asked(), chains[1].cancelled(), chains[1].stopped()]
    lives.append(whole_lives())
    lives[2] += [chains[2].changed(ENTITY | {"identifier": "moved"}), chains[2].deleted()]
    log = [fact for step in zip_longest(*lives) for fact in step if fact is not None]

    def picture(batches: list[list[Event[Any]]]) -> list[Any]:
        handle = projection(Settings().patience_seconds)
        with memory_session(tables.metadata) as session:
            said = [one.data for batch in batches for one in handle(batch, session) if isinstance(one, Emit)]
            return [said, *(list(session.execute(select(table))) for table in tables.metadata.sorted_tables)]

    assert picture([log]) == picture([log[start : start + size] for start in range(0, len(log), size)])


def test_a_batch_reads_no_table_from_end_to_end(project: Project, session: Session, traffic: Any) -> None:
    statements: list[str] = []
    connection = session.connection()
    driver: Any = connection.connection.dbapi_connection
    driver.set_trace_callback(statements.append)
    events = [traffic(name=name).whole({**ENTITY, "identifier": name}) for name in ("orders", "invoices")]
    project(*(one for some in events for one in some))
    driver.set_trace_callback(None)
    plans = {
        statement: [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
        for statement in statements
        if not statement.startswith("BEGIN")
    }
    assert any("FROM entity" in statement for statement in plans)
    for statement, plan in plans.items():
        scans = [step for step in plan if step.startswith("SCAN") and "CONSTANT ROW" not in step]
        assert not scans, (statement, plan)


def test_a_parked_message_is_shown_until_it_is_handled_or_dead(session: Session, project: Project) -> None:
    at = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
    told = {"message_id": "m", "service": "policy", "size_bytes": 1, "digest": "d"}
    told["log_subject"] = "entresol.intake.request.submitted.x"
    parked = facts.MessageParked(
        **told, reason="no", attempts=2, retry_at=at, behind=3, event_id="e", event_partitionkey="shop/a"
    )
    project(event(parked, time=at, causationid="e", correlationid="chain"))
    found = only(session, tables.dead_letter, DeadLetter)
    assert (found.state, found.retry_at, found.behind, found.correlationid) == ("retrying", at, 3, "chain")
    assert found.type == "dev.entresol.request.submitted.v1"
    dead = facts.MessageQuarantined(**told, reason="still no", attempts=8, body="e30=")
    project(event(dead, time=at + timedelta(minutes=1)))
    found = only(session, tables.dead_letter, DeadLetter)
    assert (found.state, found.retry_at, found.attempts, found.since) == ("waiting", None, 8, at)
    project(event(parked, time=at + timedelta(minutes=2)))
    assert only(session, tables.dead_letter, DeadLetter).body == "e30=", "it was redriven, and fails again"
    project(event(facts.MessageReleased(message_id="m", service="policy", attempts=3), time=at + timedelta(minutes=3)))
    found = only(session, tables.dead_letter, DeadLetter)
    assert (found.state, found.ended_at) == ("released", at + timedelta(minutes=3))
