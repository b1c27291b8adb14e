"""What arrives by the log and by NATS: triggers, expiry, the projection of resources, publishers under a grant."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from entresol_contracts import Payload
from entresol_contracts.events import (
    ApprovalExpired,
    ApprovalRejected,
    ChangeMerged,
    DeliveryRefused,
    DriverAnnounced,
    DriverWithdrawn,
    ExternalReceived,
    Repository,
    RequestDenied,
    RequestSubmitted,
    RequirementRefused,
    RequirementRequested,
    ResourceChanged,
    ResourceDeleted,
    ResourceDrifted,
    ResourceExpired,
    ResourceProvisioned,
    RunCancelled,
    RunFailed,
)
from entresol_eventing.envelope import Event
from entresol_eventing.reactions import Emit
from entresol_eventing.testing import event, memory_session
from entresol_intake.assessing import contracts, read_batch
from entresol_intake.domain.asks import read_ask
from entresol_intake.handlers import Handlers
from entresol_intake.offerings import Fitting
from entresol_intake.publishing import apply
from entresol_intake.shelf import Shelf
from entresol_intake.store import Base, remember_received, request_of
from entresol_intake.submission import submit
from entresol_manifests.offerings.contracts import Contract
from sqlmodel import Session

from services.intake.tests.conftest import Document, Make

P = TypeVar("P", bound=Payload)
AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
MERGED = "dev.entresol.change.merged.v1"
STRUCTURED = {"content-type": "application/cloudevents+json"}


@pytest.fixture
def session() -> Iterator[Session]:
    with memory_session(Base.metadata) as opened:
        yield opened


@pytest.fixture
def handlers() -> Handlers:
    return Handlers(Shelf())


@pytest.fixture
def put(session: Session, make_offering: Make) -> Callable[..., list[Emit]]:
    """Apply manifests, with the offering `database` before them."""

    def apply_all(*documents: Document) -> list[Emit]:
        steps = apply(read_batch([make_offering(), *documents], {}), AT, "user:op", session)
        return list(steps)

    return apply_all


@pytest.fixture
def trigger(make_manifest: Make) -> Make:
    def make(_name: str = "deploy", when: str | None = None, on: str = MERGED, **request: Any) -> Document:
        template = {
            "offering": "database",
            "action": "create",
            "project": "shop",
            "environment": "dev",
            "name": "${event.data.repository.name}",
            "inputs": {"size": "small"},
        }
        spec = {"on": on, "request": template | request} | ({"when": when} if when else {})
        return make_manifest("Trigger", _name, **spec)

    return make


def merged(branch: str = "main", **attributes: Any) -> Event[ChangeMerged]:
    repository = Repository(name="cart", full_name="shop/cart")
    data = ChangeMerged(repository=repository, branch=branch, revision="abc")
    return event(data, source="https://github.com/shop/cart", id="d-1", actor="ci:github/shop/cart", **attributes)


def resource(model: type[P], **more: Any) -> Event[P]:
    known = {
        "resource_id": "shop/dev/database/cart",
        "project": "shop",
        "environment": "dev",
        "offering": "database",
        "offering_version": "1.0.0",
        "name": "cart",
        "request_id": "r-1",
        "owner": "user:ada",
        "inputs": {},
        "outputs": {},
    }
    return event(model(**known, **more))


def test_a_trigger_asks_in_the_chain_of_its_event(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], trigger: Make
) -> None:
    put(trigger(when='event.data.branch == "main"', reason="merged"))
    happened = merged(correlationid="c-1")
    (emit,) = handlers.fire(happened, session)
    said = emit.data
    assert isinstance(said, RequestSubmitted)
    assert (said.resource_id, said.trigger, said.offering_version) == ("shop/dev/database/cart", "deploy", "1.0.0")
    assert said.inputs == {"size": "small", "backups": True}
    assert (said.actor.id, said.actor.groups, emit.actor) == ("trigger:deploy", [], "trigger:deploy")
    assert said.reason == "merged (by ci:github/shop/cart)"
    assert emit.correlationid == "c-1"
    asked = request_of(said.request_id, session)
    assert asked is not None
    assert asked.correlationid == "c-1"


@pytest.mark.parametrize(
    ("class_", "expected"), [("big", "big"), ("${event.data.branch}", "main"), ('${"x" == "y" ? "x" : null}', None)]
)
def test_a_trigger_may_say_of_what_class_it_is(
    session: Session,
    handlers: Handlers,
    put: Callable[..., list[Emit]],
    trigger: Make,
    class_: str,
    expected: str | None,
) -> None:
    put(trigger(**{"class": class_}))
    (emit,) = handlers.fire(merged(), session)
    assert isinstance(emit.data, RequestSubmitted)
    assert emit.data.class_ == expected


def test_a_trigger_whose_condition_does_not_hold_says_nothing(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], trigger: Make
) -> None:
    put(trigger(when='event.data.branch == "main"'))
    assert list(handlers.fire(merged(branch="other"), session)) == []


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"when": "event.data.number > 1"}, "event.data.number"),
        ({"name": "${event.data.title}"}, "/name `event.data.title`"),
        ({"name": "${event.data.repository.full_name}"}, "/name"),
        ({"inputs": {"size": "${event.data.branch}"}}, "/inputs/size"),
        ({"environment": "moon"}, "/environment"),
        ({"class": "Big One"}, "/class"),
        ({"offering": "${event.data.branch}"}, "/offering"),
    ],
)
def test_a_trigger_that_can_not_say_what_it_wants_is_told(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], trigger: Make, fields: Document, word: str
) -> None:
    put(trigger(**fields))
    remember_received([("https://github.com/shop/cart", "d-1")], "hook", AT, session)
    (emit,) = handlers.fire(merged(), session)
    assert isinstance(emit.data, DeliveryRefused)
    assert emit.data.reason.startswith("trigger deploy: ")
    assert word in emit.data.reason
    assert (emit.data.door, emit.data.source) == ("hook", "https://github.com/shop/cart")


def test_one_failing_trigger_does_not_stop_the_others(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], trigger: Make
) -> None:
    put(trigger("a", environment="moon"), trigger("b"))
    assert [type(emit.data) for emit in handlers.fire(merged(), session)] == [DeliveryRefused, RequestSubmitted]


@pytest.mark.parametrize("place", ["when", "reason"])
def test_a_trigger_that_takes_too_long_is_told_and_stops_nobody(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], trigger: Make, place: str
) -> None:
    endless = "[event.type]" + ".map(x, x + x)" * 60 + " == []"
    put(trigger("a", **{place: endless if place == "when" else f"${{{endless}}}"}), trigger("b"))
    told, asked = handlers.fire(merged(), session)
    assert isinstance(told.data, DeliveryRefused)
    assert "trigger a: " in told.data.reason
    assert "takes more" in told.data.reason
    assert isinstance(asked.data, RequestSubmitted)


def test_a_trigger_may_wait_for_what_has_no_word(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], trigger: Make
) -> None:
    put(trigger(on="dev.entresol.external.received.v1", name="x", when='event.data.event.type == "com.example"'))
    whole = {"specversion": "1.0", "id": "1", "source": "/x", "type": "com.example"}
    (emit,) = handlers.fire(event(ExternalReceived(event=whole)), session)
    assert isinstance(emit.data, RequestSubmitted)
    assert emit.data.name == "x"


def test_apply_creates_what_is_not_there_and_updates_what_is(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], trigger: Make
) -> None:
    put(trigger(action="apply"))

    def action() -> str:
        (emit,) = handlers.fire(merged(), session)
        assert isinstance(emit.data, RequestSubmitted)
        return emit.data.action

    assert action() == "create"
    list(handlers.remember(resource(ResourceProvisioned), session))
    assert action() == "update"
    list(handlers.forget(resource(ResourceDeleted), session))
    assert action() == "create"


def test_what_has_expired_is_deleted_in_the_chain_of_its_expiry(session: Session, handlers: Handlers) -> None:
    gone = resource(ResourceExpired, expired_at=AT)
    (emit,) = handlers.end(gone, session)
    assert isinstance(emit.data, RequestSubmitted)
    assert (emit.data.action, emit.data.offering_version, emit.data.inputs) == ("delete", "1.0.0", {})
    assert (emit.data.actor.id, emit.actor) == ("system:expiry", "system:expiry")
    assert emit.correlationid == gone.correlationid


@pytest.mark.parametrize(
    ("ending", "handler"),
    [(RequestDenied, "close"), (RunFailed, "close"), (RunCancelled, "close"), (ApprovalExpired, "close_approval")],
)
def test_there_is_one_open_request_to_delete_what_has_expired(
    session: Session, handlers: Handlers, ending: type[Payload], handler: str
) -> None:
    list(handlers.remember(resource(ResourceProvisioned), session))
    gone = resource(ResourceExpired, expired_at=AT)
    (first,) = handlers.end(gone, session)
    assert list(handlers.end(gone, session)) == []
    assert isinstance(first.data, RequestSubmitted)
    list(getattr(handlers, handler)(failed(ending, first.data.request_id), session))
    assert len(list(handlers.end(gone, session))) == 1
    list(handlers.forget(resource(ResourceDeleted), session))
    list(handlers.remember(resource(ResourceProvisioned), session))
    assert len(list(handlers.end(gone, session))) == 1


def test_forgetting_drops_what_was_kept(session: Session, put: Callable[..., list[Emit]], trigger: Make) -> None:
    shelf = Shelf()
    handlers = Handlers(shelf)
    assert list(handlers.fire(merged(), session)) == []
    put(trigger())
    shelf.clear()
    assert len(list(handlers.fire(merged(), session))) == 1


@pytest.fixture
def send(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], make_manifest: Make
) -> Callable[..., list[Emit]]:
    put(make_manifest("Source", "tekton", kind="nats", allow=["/tekton"]))

    def deliver(body: Document | bytes, headers: dict[str, str] = STRUCTURED, source: str = "tekton") -> list[Emit]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return list(handlers.ingest(f"entresol.ingest.{source}.any.thing", headers, raw, session))

    return deliver


def cloud_event(**fields: Any) -> Document:
    return {"specversion": "1.0", "id": "1", "source": "/tekton/run", "type": "com.example"} | fields


def test_a_publisher_under_a_grant_is_let_in_once(send: Callable[..., list[Emit]]) -> None:
    (emit,) = send(cloud_event())
    assert (emit.id, emit.source, emit.actor) == ("1", "/tekton/run", "ci:tekton")
    assert send(cloud_event()) == []
    assert len(send(cloud_event(id="2"), headers={})) == 1


def test_binary_headers_are_read_without_regard_to_case(send: Callable[..., list[Emit]]) -> None:
    headers = {"CE-ID": "1", "Ce-Source": "/tekton", "ce-Type": "com.example", "ce-specversion": "1.0"}
    (emit,) = send(b'{"a":1}', headers)
    assert isinstance(emit.data, ExternalReceived)
    assert emit.data.event["data"] == {"a": 1}


@pytest.mark.parametrize(
    ("body", "headers", "source"),
    [
        (cloud_event(source="/other"), STRUCTURED, "tekton"),
        (cloud_event(source="/tektonic"), STRUCTURED, "tekton"),
        (cloud_event(), STRUCTURED, "unknown"),
        (cloud_event(id=""), STRUCTURED, "tekton"),
        (cloud_event(type="dev.entresol.request.allowed.v1"), STRUCTURED, "tekton"),
        (b"{", STRUCTURED, "tekton"),
        (b"", {}, "tekton"),
        (b"\xff", {}, "tekton"),
        (b"[" * 1000, STRUCTURED, "tekton"),
        (b"{}", {"content-type": "text/plain"}, "tekton"),
        (b"{}", {"ce-id": "1"}, "tekton"),
    ],
)
def test_everything_else_is_told_as_refused(
    send: Callable[..., list[Emit]], body: Document | bytes, headers: dict[str, str], source: str
) -> None:
    (emit,) = send(body, headers, source)
    assert isinstance(emit.data, DeliveryRefused)
    assert (emit.data.door, emit.data.source) == ("nats", source)
    assert emit.data.size_bytes is not None


WANTED = {
    "resource_id": "shop/dev/database/cart-db",
    "project": "shop",
    "environment": "dev",
    "offering": "database",
    "name": "cart-db",
    "inputs": {"size": "small"},
}


def required(action: str = "create", for_request_id: str = "r-2", **wanted: Any) -> Event[RequirementRequested]:
    data = RequirementRequested(
        request_id="r-1",
        resource_id="shop/dev/app/cart",
        project="shop",
        run_id="u-1",
        name="db",
        action=action,
        wanted=WANTED | wanted,
        for_request_id=for_request_id,
        actor={"id": "user:ada", "groups": ["team-shop"]},
    )
    return event(data, correlationid="c-1")


def test_what_a_run_requires_is_asked_for_as_if_its_actor_had(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]]
) -> None:
    put()
    (emit,) = handlers.require(required(**{"class": "cheap"}), session)
    said = emit.data
    assert isinstance(said, RequestSubmitted)
    assert (said.request_id, said.resource_id, said.action) == ("r-2", "shop/dev/database/cart-db", "create")
    assert (said.offering_version, said.class_) == ("1.0.0", "cheap")
    assert said.inputs == {"size": "small", "backups": True}
    assert (said.actor.id, said.actor.groups, emit.actor) == ("user:ada", ["team-shop"], "user:ada")
    assert said.requirement is not None
    assert said.requirement.model_dump() == {"request_id": "r-1", "resource_id": "shop/dev/app/cart", "name": "db"}
    assert said.reason == "shop/dev/app/cart requires it as db"
    assert (emit.correlationid, emit.subject) == ("c-1", "r-2")
    asked = request_of("r-2", session)
    assert asked is not None
    assert asked.correlationid == "c-1"


def test_a_requirement_is_asked_for_once(session: Session, handlers: Handlers, put: Callable[..., list[Emit]]) -> None:
    put()
    assert len(list(handlers.require(required(), session))) == 1
    assert list(handlers.require(required(), session)) == []
    assert len(list(handlers.require(required(for_request_id="r-3"), session))) == 1


def test_what_is_required_keeps_its_version_and_is_deleted_when_nobody_needs_it(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], make_offering: Make
) -> None:
    put()
    own = resource(ResourceProvisioned).data.model_copy(update={"resource_id": WANTED["resource_id"]})
    list(handlers.remember(event(own), session))
    put(make_offering("1.1.0"))
    handlers = Handlers(Shelf())
    for action, inputs in (("update", {"size": "large"}), ("delete", {})):
        (emit,) = handlers.require(required(action, f"r-{action}", inputs=inputs), session)
        assert isinstance(emit.data, RequestSubmitted)
        assert (emit.data.action, emit.data.offering_version, emit.data.inputs) == (action, "1.0.0", inputs)
    (emit,) = handlers.require(required("update", "r-up", version="1.1.0", inputs={}), session)
    assert isinstance(emit.data, RequestSubmitted)
    assert emit.data.offering_version == "1.1.0"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"offering": "nothing", "resource_id": "shop/dev/nothing/cart-db"}, "/offering there is no such offering"),
        ({"version": "9.0.0"}, "/version is not offered"),
        ({"version": "../1"}, "/version"),
        ({"inputs": {"size": "huge"}}, "/inputs/size"),
        ({"inputs": {}}, "/inputs/size"),
        ({"environment": "moon", "resource_id": "shop/moon/database/cart-db"}, "/environment"),
        ({"name": "n" * 64, "resource_id": "shop/dev/database/" + "n" * 64}, "/name"),
        ({"name": "n" * 10_000}, "/name"),
        ({"class": "Odd One"}, "/class"),
        ({"resource_id": "shop/prod/database/cart-db"}, "/resource_id"),
        ({"for_request_id": "a\nb"}, "/for_request_id"),
        ({"for_request_id": "x" * 10_000}, "/for_request_id"),
        ({"action": "update", "inputs": {"size": 5}}, "/inputs/size"),
        ({"action": "delete"}, "/inputs"),
    ],
)
def test_a_requirement_that_is_not_offered_so_is_refused_with_the_reasons(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], fields: Document, words: str
) -> None:
    put()
    asked = required(**fields)
    (emit,) = handlers.require(asked, session)
    assert isinstance(emit.data, RequirementRefused)
    assert words in emit.data.reason
    assert (emit.data.request_id, emit.data.resource_id, emit.data.name) == ("r-1", "shop/dev/app/cart", "db")
    assert emit.data.for_request_id == asked.data.for_request_id
    assert (emit.subject, emit.partitionkey) == ("r-1", "shop/dev/app/cart")
    assert request_of(asked.data.for_request_id, session) is None


def drifted(
    mode: str = "correct", owner: str = "user:ada", differences: int = 1, **more: Any
) -> Event[ResourceDrifted]:
    places = [{"step": "s", "path": f"a.yaml#/{number}", "change": "changed"} for number in range(differences)]
    known = {
        "resource_id": "shop/dev/database/cart",
        "project": "shop",
        "environment": "dev",
        "offering": "database",
        "offering_version": "1.0.0",
        "name": "cart",
    }
    data = ResourceDrifted(**known, owner=owner, mode=mode, differences=places, checked_at=AT, **more)
    return event(data, correlationid="c-1")


def test_what_drifted_is_put_right_in_the_chain_of_its_drift(session: Session, handlers: Handlers) -> None:
    (emit,) = handlers.correct(drifted(differences=5, more=2, gone=["bucket"]), session)
    said = emit.data
    assert isinstance(said, RequestSubmitted)
    assert (said.action, said.offering_version, said.inputs) == ("reconcile", "1.0.0", {})
    assert (said.actor.id, emit.actor, emit.correlationid) == ("system:drift", "system:drift", "c-1")
    assert said.question is None
    assert said.reason == (
        "it has drifted: a.yaml#/0 was changed, a.yaml#/1 was changed, a.yaml#/2 was changed, and 5 more"
    )


def test_drift_that_is_only_reported_asks_for_nothing(session: Session, handlers: Handlers) -> None:
    assert list(handlers.correct(drifted("report"), session)) == []


@pytest.mark.parametrize(
    ("owner", "of_offering", "asked"),
    [
        ("user:ada", "team-data", "user:ada"),
        ("group:shop", None, "group:shop"),
        ("trigger:deploy", "team-data", "group:team-data"),
        ("ci:github", "group:data", "group:data"),
        ("trigger:deploy", None, "trigger:deploy"),
    ],
)
def test_the_owner_is_asked_where_the_offering_wants_that(
    session: Session,
    handlers: Handlers,
    put: Callable[..., list[Emit]],
    make_offering: Make,
    owner: str,
    of_offering: str | None,
    asked: str,
) -> None:
    document = make_offering()
    if of_offering is not None:
        document["metadata"]["owner"] = of_offering
    list(apply(read_batch([document], {}), AT, "user:op", session))
    (emit,) = handlers.correct(drifted("ask", owner), session)
    assert isinstance(emit.data, RequestSubmitted)
    assert emit.data.question is not None
    assert emit.data.question.model_dump(by_alias=True) == {"from": [asked], "because": emit.data.reason}


def test_what_drivers_announce_is_known_until_they_are_withdrawn(session: Session, handlers: Handlers) -> None:
    settings = {"type": "object"}
    list(handlers.hear_driver(event(DriverAnnounced(driver="abacus", available=False, settings=settings)), session))
    list(handlers.hear_driver(event(DriverAnnounced(driver="abacus", available=True)), session))
    assert contracts(session) == {"abacus": Contract(None, None)}
    list(handlers.hear_driver(event(DriverAnnounced(driver="abacus", available=True, settings=settings)), session))
    assert contracts(session) == {"abacus": Contract(settings, None)}
    list(handlers.lose_driver(event(DriverWithdrawn(driver="abacus")), session))
    assert contracts(session) == {}


def test_a_driver_that_is_named_beside_another_is_not_taken_for_missing(session: Session, handlers: Handlers) -> None:
    settings = {"type": "object"}
    first = DriverAnnounced(driver="abacus", available=True, settings=settings, installed=["abacus", "quipu"])
    list(handlers.hear_driver(event(first), session))
    assert contracts(session) == {"abacus": Contract(settings, None), "quipu": Contract(None, None)}
    second = DriverAnnounced(driver="quipu", available=True, settings=settings, installed=["abacus", "quipu"])
    list(handlers.hear_driver(event(second), session))
    assert contracts(session) == dict.fromkeys(("abacus", "quipu"), Contract(settings, None))


def failed(model: type[Payload], request_id: str) -> Event[Any]:
    about = {"request_id": request_id, "resource_id": "shop/dev/database/cart", "project": "shop"}
    more: dict[type[Payload], Document] = {
        RequestDenied: {"because": ["no"], "verdicts": []},
        RunFailed: {"run_id": "u", "step": "s", "reason": "r"},
        RunCancelled: {"run_id": "u"},
        ApprovalRejected: {"approval_id": "a", "by": "user:eve", "answers": []},
        ApprovalExpired: {"approval_id": "a", "answers": []},
        ResourceChanged: {},
    }
    if model is ResourceChanged:
        return event(resource(ResourceProvisioned).data.model_copy(update={"request_id": request_id}))
    known = set(model.model_fields)
    whole: Document = {name: each for name, each in (about | more[model]).items() if name in known}
    return event(model.model_construct(**whole))


@pytest.mark.parametrize(
    ("ending", "handler"),
    [
        (RequestDenied, "close"),
        (RunFailed, "close"),
        (RunCancelled, "close"),
        (ApprovalRejected, "close_approval"),
        (ApprovalExpired, "close_approval"),
        (ResourceChanged, "remember"),
    ],
)
def test_there_is_one_open_request_to_put_a_resource_right(
    session: Session, handlers: Handlers, ending: type[Payload], handler: str
) -> None:
    list(handlers.remember(resource(ResourceProvisioned), session))
    (first,) = handlers.correct(drifted(), session)
    assert list(handlers.correct(drifted("ask", differences=2), session)) == []
    end = getattr(handlers, handler)
    list(end(failed(ending, "another"), session))
    assert list(handlers.correct(drifted(), session)) == []
    assert isinstance(first.data, RequestSubmitted)
    list(end(failed(ending, first.data.request_id), session))
    assert len(list(handlers.correct(drifted(), session))) == 1


def test_what_is_gone_is_put_right_no_more(session: Session, handlers: Handlers) -> None:
    list(handlers.remember(resource(ResourceProvisioned), session))
    assert len(list(handlers.correct(drifted(), session))) == 1
    list(handlers.forget(resource(ResourceDeleted), session))
    assert len(list(handlers.correct(drifted(), session))) == 1


def test_somebody_who_puts_it_right_by_hand_comes_first(session: Session, handlers: Handlers, make_ask: Make) -> None:
    list(handlers.remember(resource(ResourceProvisioned), session))
    asked = read_ask(make_ask(name="cart", action="reconcile", inputs={}))
    list(submit(Fitting(asked, "1.0.0", "reconcile", {}, None), "r-9", "user:ada", (), AT, session))
    assert list(handlers.correct(drifted(), session)) == []
    tried = read_ask(make_ask(name="other", action="reconcile", inputs={}, dry_run=True))
    list(submit(Fitting(tried, "1.0.0", "reconcile", {}, None), "r-10", "user:ada", (), AT, session))
    other = drifted().data.model_copy(update={"resource_id": tried.resource_id})
    assert len(list(handlers.correct(event(other), session))) == 1


def test_a_trigger_may_wait_for_drift(
    session: Session, handlers: Handlers, put: Callable[..., list[Emit]], trigger: Make
) -> None:
    put(trigger(on="dev.entresol.resource.drifted.v1", name="x", when='event.data.mode == "report"'))
    (emit,) = handlers.correct(drifted("report"), session)
    assert isinstance(emit.data, RequestSubmitted)
    assert emit.data.trigger == "deploy"
