"""What arrives by the log and by NATS: triggers, expiry, the projection of resources, publishers under a grant."""

import json
from datetime import UTC, datetime

import pytest
from entresol_contracts.events import (
    ChangeMerged,
    DeliveryRefused,
    ExternalReceived,
    Repository,
    RequestSubmitted,
    ResourceDeleted,
    ResourceExpired,
    ResourceProvisioned,
)
from entresol_eventing.testing import event, memory_session
from entresol_intake.handlers import Handlers
from entresol_intake.publishing import apply, read_batch
from entresol_intake.shelf import Shelf
from entresol_intake.store import Base, remember_received, request_of

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
MERGED = "dev.entresol.change.merged.v1"
STRUCTURED = {"content-type": "application/cloudevents+json"}


@pytest.fixture
def session():
    with memory_session(Base.metadata) as opened:
        yield opened


@pytest.fixture
def handlers():
    return Handlers(Shelf())


@pytest.fixture
def put(session, make_offering):
    """Apply manifests, with the offering `database` before them."""

    def apply_all(*documents):
        steps = apply(read_batch([make_offering(), *documents]), AT, "user:op", session)
        return list(steps)

    return apply_all


@pytest.fixture
def trigger(make_manifest):
    def make(_name="deploy", when=None, on=MERGED, **request):
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


def merged(branch="main", **attributes):
    repository = Repository(name="cart", full_name="shop/cart")
    data = ChangeMerged(repository=repository, branch=branch, revision="abc")
    return event(data, source="https://github.com/shop/cart", id="d-1", actor="ci:github/shop/cart", **attributes)


def resource(model, **more):
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


def test_a_trigger_asks_in_the_chain_of_its_event(session, handlers, put, trigger):
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
    assert request_of(said.request_id, session).correlationid == "c-1"


def test_a_trigger_whose_condition_does_not_hold_says_nothing(session, handlers, put, trigger):
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
        ({"offering": "${event.data.branch}"}, "/offering"),
    ],
)
def test_a_trigger_that_can_not_say_what_it_wants_is_told(session, handlers, put, trigger, fields, word):
    put(trigger(**fields))
    remember_received([("https://github.com/shop/cart", "d-1")], "hook", AT, session)
    (emit,) = handlers.fire(merged(), session)
    assert isinstance(emit.data, DeliveryRefused)
    assert emit.data.reason.startswith("trigger deploy: ")
    assert word in emit.data.reason
    assert (emit.data.door, emit.data.source) == ("hook", "https://github.com/shop/cart")


def test_one_failing_trigger_does_not_stop_the_others(session, handlers, put, trigger):
    put(trigger("a", environment="moon"), trigger("b"))
    assert [type(emit.data) for emit in handlers.fire(merged(), session)] == [DeliveryRefused, RequestSubmitted]


def test_a_trigger_may_wait_for_what_has_no_word(session, handlers, put, trigger):
    put(trigger(on="dev.entresol.external.received.v1", name="x", when='event.data.event.type == "com.example"'))
    whole = {"specversion": "1.0", "id": "1", "source": "/x", "type": "com.example"}
    (emit,) = handlers.fire(event(ExternalReceived(event=whole)), session)
    assert emit.data.name == "x"


def test_apply_creates_what_is_not_there_and_updates_what_is(session, handlers, put, trigger):
    put(trigger(action="apply"))

    def action():
        (emit,) = handlers.fire(merged(), session)
        return emit.data.action

    assert action() == "create"
    list(handlers.remember(resource(ResourceProvisioned), session))
    assert action() == "update"
    list(handlers.forget(resource(ResourceDeleted), session))
    assert action() == "create"


def test_what_has_expired_is_deleted_in_the_chain_of_its_expiry(session, handlers):
    gone = resource(ResourceExpired, expired_at=AT)
    (emit,) = handlers.end(gone, session)
    assert (emit.data.action, emit.data.offering_version, emit.data.inputs) == ("delete", "1.0.0", {})
    assert (emit.data.actor.id, emit.actor) == ("system:expiry", "system:expiry")
    assert emit.correlationid == gone.correlationid


def test_forgetting_drops_what_was_kept(session, put, trigger):
    shelf = Shelf()
    handlers = Handlers(shelf)
    assert list(handlers.fire(merged(), session)) == []
    put(trigger())
    shelf.clear()
    assert len(list(handlers.fire(merged(), session))) == 1


@pytest.fixture
def send(session, handlers, put, make_manifest):
    put(make_manifest("Source", "tekton", kind="nats", allow=["/tekton"]))

    def deliver(body, headers=STRUCTURED, source="tekton"):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return list(handlers.ingest(f"entresol.ingest.{source}.any.thing", headers, raw, session))

    return deliver


def cloud_event(**fields):
    return {"specversion": "1.0", "id": "1", "source": "/tekton/run", "type": "com.example"} | fields


def test_a_publisher_under_a_grant_is_let_in_once(send):
    (emit,) = send(cloud_event())
    assert (emit.id, emit.source, emit.actor) == ("1", "/tekton/run", "ci:tekton")
    assert send(cloud_event()) == []
    assert len(send(cloud_event(id="2"), headers={})) == 1


def test_binary_headers_are_read_without_regard_to_case(send):
    headers = {"CE-ID": "1", "Ce-Source": "/tekton", "ce-Type": "com.example", "ce-specversion": "1.0"}
    (emit,) = send(b'{"a":1}', headers)
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
def test_everything_else_is_told_as_refused(send, body, headers, source):
    (emit,) = send(body, headers, source)
    assert isinstance(emit.data, DeliveryRefused)
    assert (emit.data.door, emit.data.source) == ("nats", source)
    assert emit.data.size_bytes is not None
