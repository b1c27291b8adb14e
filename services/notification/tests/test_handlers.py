"""Events in, deliveries out."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_contracts.events import (
    ManifestApplied,
    ManifestRemoved,
    NotificationDelivered,
    NotificationFailed,
    RequestDenied,
    RunStarted,
    RunSuspended,
)
from entresol_eventing.envelope import Cause, decode
from entresol_eventing.reactions import Emit
from entresol_eventing.testing import event, memory_session
from entresol_notification import store
from entresol_notification.handlers import Router
from entresol_notification.store import Attempt, Base, Delivery, Result, Waiting
from entresol_notification.workers import record
from sqlalchemy import event as sql_event
from sqlmodel import Session, select

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
ENDLESS = "[event.type]" + ".map(x, x + x)" * 60 + " == []"
DENIED = "dev.entresol.request.denied.v1"


class Desk:
    """A router with its store."""

    def __init__(self, session: Session) -> None:
        self.router = Router()
        self.session = session

    def hear(self, *data: Any, **attributes: Any) -> list[Emit]:
        events = [event(one, time=AT, **attributes) for one in data]
        return [one for one in self.router.route(events, self.session) if isinstance(one, Emit)]

    def deliveries(self) -> list[Delivery]:
        return list(self.session.exec(select(Delivery)))


@pytest.fixture
def desk() -> Iterator[Desk]:
    with memory_session(Base.metadata) as session:
        yield Desk(session)


def manifest(kind: str, name: str, /, **spec: Any) -> ManifestApplied:
    document = {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return ManifestApplied(kind=kind, name=name, digest="sha256:x", manifest=document)


def route(name: str = "denials", channel: str = "chat", on: str = DENIED, **spec: Any) -> ManifestApplied:
    return manifest("Route", name, on=[on], channel=channel, **spec)


def denied(project: str = "shop", because: str = "too large") -> RequestDenied:
    return RequestDenied(
        request_id="r1", resource_id=f"{project}/prod/db/orders", project=project, because=[because], verdicts=[]
    )


def test_a_matching_route_makes_a_delivery(desk: Desk) -> None:
    assert desk.hear(route(), denied(), id="e1") == []
    (delivery,) = desk.deliveries()
    assert (delivery.channel, delivery.route, delivery.event_id, delivery.state) == ("chat", "denials", "e1", "ready")
    assert delivery.message == "request shop/prod/db/orders was denied: too large"
    assert decode(delivery.event.encode()).data == denied()
    assert Cause.model_validate(delivery.cause).id == "e1"
    assert delivery.next_at == AT


def test_the_delivery_id_is_the_same_after_a_rebuild(desk: Desk) -> None:
    desk.hear(route(), denied(), id="e1")
    with memory_session(Base.metadata) as session:
        again = Desk(session)
        again.hear(route(), denied(), id="e1")
        assert [one.id for one in again.deliveries()] == [one.id for one in desk.deliveries()]


def test_each_route_has_its_own_delivery(desk: Desk) -> None:
    desk.hear(route("a"), route("b", channel="mail"), denied())
    assert {(one.route, one.channel) for one in desk.deliveries()} == {("a", "chat"), ("b", "mail")}
    assert len({one.id for one in desk.deliveries()}) == 2


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ('event.data.project == "shop"', True),
        ('event.data.project == "bank"', False),
        (f'event.type == "{DENIED}" && event.source == "/entresol/policy" && event.actor == "user:ada"', True),
        ('event.data.because.exists(b, b.contains("large"))', True),
    ],
)
def test_what_a_route_takes(desk: Desk, when: str, told: bool) -> None:
    assert desk.hear(route(when=when), denied()) == []
    assert len(desk.deliveries()) == told


@pytest.mark.parametrize("when", ["event.data.nope == 1", "event.data.project", "not cel (", "(" * 4000, "1 +"])
def test_a_route_that_can_not_say_fails_visibly(desk: Desk, when: str) -> None:
    (emit,) = desk.hear(route(when=when), denied(), id="e1")
    assert isinstance(emit.data, NotificationFailed)
    assert emit.cause is not None
    assert emit.cause.id == "e1"
    assert "route denials" in emit.data.reason
    assert [one.state for one in desk.deliveries()] == ["failed"]
    assert store.queues(desk.session) == {}


def test_a_route_that_takes_too_long_fails_visibly_and_stops_nobody(desk: Desk) -> None:
    desk.hear(route("a", when=ENDLESS), route("b"), route("c", message=f"${{{ENDLESS}}}"))
    (emit,) = desk.hear(denied())
    assert isinstance(emit.data, NotificationFailed)
    assert "route a fails" in emit.data.reason
    assert "takes more" in emit.data.reason
    told = {one.route: one.message for one in desk.deliveries() if one.state == "ready"}
    assert told.pop("b") == "request shop/prod/db/orders was denied: too large"
    assert "the message of route c fails: takes more" in told.pop("c")
    assert not told


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("no: ${event.data.because[0]}", "no: too large"),
        ("${event.data.because}", '["too large"]'),
        ("two\nlines\x1b", "two lines"),
    ],
)
def test_a_route_may_have_words_of_its_own(desk: Desk, message: str, said: str) -> None:
    desk.hear(route(message=message), denied())
    assert desk.deliveries()[0].message == said


def test_words_that_fail_are_told_behind_the_usual_ones(desk: Desk) -> None:
    desk.hear(route(message="${event.data.nope}"), denied())
    message = desk.deliveries()[0].message
    assert message.startswith("request shop/prod/db/orders was denied: too large [the message of route denials fails")


def test_a_changed_or_removed_route_is_in_force_at_once(desk: Desk) -> None:
    desk.hear(route(), denied(), route(when="false"), denied(), route(), denied())
    assert len(desk.deliveries()) == 2
    desk.hear(ManifestRemoved(kind="Route", name="denials"), denied())
    assert len(desk.deliveries()) == 2


def test_notifications_are_never_told_about_notifications(desk: Desk) -> None:
    for fact in (NotificationDelivered, NotificationFailed):
        on = f"dev.entresol.{'notification.delivered' if fact is NotificationDelivered else 'notification.failed'}.v1"
        desk.hear(route(on=on))
        ids = {"delivery_id": "d", "channel": "c", "route": "r", "event_id": "e", "event_type": "t", "attempts": 1}
        extra = {"reason": "x"} if fact is NotificationFailed else {}
        desk.hear(fact(**ids, **extra))
    desk.hear(route(), denied(), source="/entresol/notification")
    assert desk.deliveries() == []


@pytest.mark.parametrize(
    ("resumable", "actor", "told"), [(True, "user:ada", 1), (False, "user:ada", 0), (True, "user:bob", 0)]
)
def test_whoever_may_let_a_run_go_on_can_be_told(desk: Desk, resumable: bool, actor: str, told: int) -> None:
    whose = route(on="dev.entresol.run.suspended.v1", when='event.data.resumable && event.actor == "user:ada"')
    about = {"request_id": "r1", "resource_id": "shop/prod/db/orders", "project": "shop", "run_id": "u1"}
    suspended = RunSuspended(**about, step="migrate", reason="look at it", resumable=resumable)
    assert desk.hear(whose) == desk.hear(suspended, actor=actor) == []
    assert len(desk.deliveries()) == told


def test_a_manifest_that_is_no_route_tells_nobody_and_harms_nobody(desk: Desk) -> None:
    broken = ManifestApplied(kind="Route", name="broken", digest="x", manifest={"spec": {"on": 1}})
    desk.hear(broken, route(), denied())
    assert len(desk.deliveries()) == 1


def test_what_cel_can_not_hold_matters_only_to_routes_that_look(desk: Desk) -> None:
    huge = manifest("Entity", "e", size=2**70)
    emits = desk.hear(route(on="dev.entresol.manifest.applied.v1"), huge)
    assert emits == []
    assert desk.deliveries()[-1].message == "Entity e was applied"


def test_events_that_no_route_names_need_no_statement(desk: Desk) -> None:
    started = RunStarted(
        request_id="r1",
        resource_id="shop/prod/db/orders",
        project="shop",
        run_id="u1",
        offering="db",
        offering_version="1.0.0",
        action="create",
        steps=[],
        running=[],
    )
    desk.hear(route(), denied())
    statements: list[str] = []
    sql_event.listen(
        desk.session.get_bind(), "before_cursor_execute", lambda *args: statements.append(args[2]), retval=False
    )
    desk.hear(*([started] * 1000))
    assert statements == []


def waiting(session: Session, channel: str = "chat") -> list[Waiting]:
    return store.page(session, channel, AT + timedelta(days=1), 50)[1]


def result(state: Any, answer: str = "200", next_at: datetime = AT) -> Result:
    return Result(state, AT, 7, answer, next_at)


def test_attempts_are_recorded_and_only_the_last_is_told(desk: Desk) -> None:
    desk.hear(route(), denied())
    later = AT + timedelta(seconds=2)
    (first,) = waiting(desk.session)
    assert list(record(first, result("ready", "500", later))(desk.session)) == []
    assert store.queues(desk.session) == {"chat": later}
    (second,) = waiting(desk.session)
    assert second.attempts == 1
    (emit,) = record(second, result("delivered"))(desk.session)
    assert (emit.data.attempts, emit.data.answer, emit.data.delivery_id) == (2, "200", first.id)
    assert waiting(desk.session) == []
    attempts = list(desk.session.exec(select(Attempt)))
    assert [(one.number, one.succeeded, one.answer) for one in attempts] == [(1, False, "500"), (2, True, "200")]


def test_a_result_is_recorded_once(desk: Desk) -> None:
    desk.hear(route(), denied())
    (one,) = waiting(desk.session)
    assert len(list(record(one, result("failed", "gone"))(desk.session))) == 1
    assert list(record(one, result("delivered"))(desk.session)) == []


def test_queues_are_told_apart_and_in_order(desk: Desk) -> None:
    desk.hear(route("a", channel="a"), route("b", channel="b"), denied(because="1"))
    desk.hear(denied(because="2"))
    assert store.queues(desk.session) == {"a": AT, "b": AT}
    assert [one.message[-1] for one in waiting(desk.session, "a")] == ["1", "2"]


def test_old_deliveries_are_forgotten_with_their_attempts(desk: Desk) -> None:
    desk.hear(route(), denied())
    desk.hear(denied())
    first, _ = waiting(desk.session)
    list(record(first, result("delivered"))(desk.session))
    assert store.prune(desk.session, AT, 10) == 0
    assert store.prune(desk.session, AT + timedelta(seconds=1), 10) == 1
    assert len(desk.deliveries()) == 1
    assert list(desk.session.exec(select(Attempt))) == []
