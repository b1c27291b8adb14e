"""Events of others by HTTP: the three content modes, CDEvents, copies, and what nobody outside may say."""

import json
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.envelope import Event
from entresol_eventing.service import Service
from entresol_eventing.testing import published
from httpx import AsyncClient

from services.intake.tests.conftest import Document, Enter

STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "cdevents"


def cloud_event(**fields: Any) -> Document:
    sane = {"specversion": "1.0", "id": "1", "source": "https://ci.example/cart", "type": "com.example.thing"}
    return {name: value for name, value in (sane | fields).items() if value is not None}


def cdevent(
    kind: str = "artifact.published.0.3.0", version: str = "0.5.1", subject_id: str = "pkg:oci/cart@1", **content: Any
) -> Document:
    return {
        "context": {
            "specversion": version,
            "id": "cd-1",
            "source": "/ci/cart",
            "type": f"dev.cdevents.{kind}",
            "timestamp": "2026-11-21T10:00:00Z",
        },
        "subject": {"id": subject_id, "content": content},
    }


async def outside(service: Service) -> list[Event[Any]]:
    return [event for event in await published(service) if not event.source.startswith("/entresol/")]


@pytest.fixture
async def publisher(enter: Enter) -> AsyncClient:
    return await enter("publisher", actor="ci:github/shop/cart")


async def test_structured(service: Service, publisher: AsyncClient) -> None:
    body = cloud_event(data={"a": 1}, subject="s", time="2026-11-21T10:00:00Z", traceid="x")
    answer = await publisher.post("/v1/events", json=body, headers=STRUCTURED)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0})
    (event,) = await outside(service)
    assert (event.id, event.source, event.subject) == ("1", "https://ci.example/cart", "s")
    assert event.actor == "ci:github/shop/cart"
    assert event.data.event == body


async def test_binary(service: Service, publisher: AsyncClient) -> None:
    headers = {
        "CE-SpecVersion": "1.0",
        "ce-id": "b-1",
        "Ce-Source": "https://ci.example/a%20b",
        "ce-type": "com.example.thing",
        "ce-time": "2026-11-21T10:00:00Z",
        "Content-Type": "application/json",
    }
    assert (await publisher.post("/v1/events", content=b'{"a":1}', headers=headers)).status_code == 202
    (event,) = await outside(service)
    assert event.source == "https://ci.example/a b"
    assert event.data.event["data"] == {"a": 1}
    assert event.data.event["time"] == "2026-11-21T10:00:00Z"


@pytest.mark.parametrize(
    ("media_type", "body", "kept"),
    [
        ("text/plain", b"hello", {"data": "hello"}),
        ("application/octet-stream", b"\xff\x00", {"data_base64": "/wA="}),
        ("application/json", b"", {}),
    ],
)
async def test_binary_keeps_what_is_no_json(
    service: Service, publisher: AsyncClient, media_type: str, body: bytes, kept: Document
) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/x", "ce-type": "t", "Content-Type": media_type}
    assert (await publisher.post("/v1/events", content=body, headers=headers)).status_code == 202
    (event,) = await outside(service)
    assert {key: value for key, value in event.data.event.items() if key.startswith("data")} == kept | {
        "datacontenttype": media_type
    }


async def test_a_batch_folds_its_copies_and_those_of_before(service: Service, publisher: AsyncClient) -> None:
    batch = [cloud_event(id="1"), cloud_event(id="2"), cloud_event(id="1"), cloud_event(id="1", source="/other")]
    first = await publisher.post("/v1/events", json=batch, headers=BATCH)
    assert first.json() == {"accepted": 3, "duplicates": 1}
    again = await publisher.post("/v1/events", json=batch, headers=BATCH)
    assert again.json() == {"accepted": 0, "duplicates": 4}
    assert len(await outside(service)) == 3
    assert (await publisher.post("/v1/events", json=[], headers=BATCH)).json() == {"accepted": 0, "duplicates": 0}


async def test_one_bad_event_refuses_the_batch(service: Service, publisher: AsyncClient) -> None:
    batch = [cloud_event(), cloud_event(id=None)]
    answer = await publisher.post("/v1/events", json=batch, headers=BATCH)
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["violations"]] == ["/1/id"]
    assert await outside(service) == []


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"id": None}, "/id"),
        ({"id": ""}, "/id"),
        ({"id": 5}, "/id"),
        ({"id": "x" * 600}, "/id"),
        ({"source": None}, "/source"),
        ({"source": "/entresol/policy"}, "/source"),
        ({"source": "/entresol"}, "/source"),
        ({"type": None}, "/type"),
        ({"type": "dev.entresol.request.allowed.v1"}, "/type"),
        ({"type": "dev.entresol.change.merged.v2"}, "/type"),
        ({"type": "dev.entresol.nonsense"}, "/type"),
        ({"specversion": "0.3"}, "/specversion"),
        ({"specversion": None}, "/specversion"),
        ({"time": "yesterday"}, "/time"),
        ({"time": "2026-11-21T10:00:00"}, "/time"),
        ({"Upper": "x"}, "/Upper"),
        ({"extension": {"deep": 1}}, "/extension"),
        ({"data": {}, "data_base64": "AA=="}, "/data_base64"),
        ({"type": "dev.entresol.change.merged.v1", "data": {"branch": "main"}}, "/data/repository"),
        ({"type": "dev.entresol.change.merged.v1"}, "/data"),
        ({"type": "dev.entresol.alert.fired.v1", "data": {"alert": ""}}, "/data/alert"),
        ({"data": "x" * 270_000}, "/data"),
    ],
)
async def test_what_is_no_event_is_refused_and_told(
    service: Service, publisher: AsyncClient, fields: Document, pointer: str
) -> None:
    answer = await publisher.post("/v1/events", json=cloud_event(**fields), headers=STRUCTURED)
    assert answer.status_code == 422, answer.text
    assert pointer in [each["pointer"] for each in answer.json()["violations"]]
    assert await outside(service) == []
    told = (await published(service))[-1]
    assert told.type == "dev.entresol.delivery.refused.v1"
    assert (told.data.door, told.data.source) == ("http", "ci:github/shop/cart")
    assert told.data.digest.startswith("sha256:")


async def test_an_outside_fact_is_taken_as_itself(service: Service, publisher: AsyncClient) -> None:
    data = {"repository": {"name": "cart", "full_name": "shop/cart"}, "branch": "main", "revision": "abc"}
    body = cloud_event(type="dev.entresol.change.merged.v1", data=data)
    assert (await publisher.post("/v1/events", json=body, headers=STRUCTURED)).status_code == 202
    (event,) = await outside(service)
    assert event.type == "dev.entresol.change.merged.v1"
    assert event.data.branch == "main"
    assert event.partitionkey == "shop/cart"


@pytest.mark.parametrize("version", ["0.3.0", "0.4.1", "0.5.1"])
async def test_a_bare_cdevent_is_said_in_our_words(service: Service, publisher: AsyncClient, version: str) -> None:
    body = cdevent(version=version, user="bot")
    if version == "0.3.0":
        body["context"]["version"] = body["context"].pop("specversion")
    assert (await publisher.post("/v1/events", json=body)).status_code == 202
    (event,) = await outside(service)
    assert (event.id, event.source) == ("cd-1", "/ci/cart")
    assert event.data.artifact == "pkg:oci/cart@1"
    assert event.data.by == "bot"


async def test_a_cdevent_in_a_cloud_event_is_the_same(service: Service, publisher: AsyncClient) -> None:
    body = cdevent("pipelinerun.finished.0.2.0", subject_id="run-1", pipelineName="build", outcome="failure")
    wrapped = cloud_event(type=body["context"]["type"], data=body)
    assert (await publisher.post("/v1/events", json=wrapped, headers=STRUCTURED)).status_code == 202
    (event,) = await outside(service)
    assert (event.data.pipeline, event.data.outcome) == ("build", "failure")


@pytest.mark.parametrize(
    "broken",
    [
        {"context": {}},
        {"context": "x", "subject": {}},
        cdevent(version="0.2.0"),
        cdevent(version="1.0.0"),
        cdevent(kind="nonsense"),
        cdevent() | {"subject": {}},
        cdevent() | {"subject": {"id": "x", "content": []}},
    ],
)
async def test_what_claims_to_be_a_cdevent_must_be_one(publisher: AsyncClient, broken: Document) -> None:
    assert (await publisher.post("/v1/events", json=broken)).status_code == 422


async def test_the_conformance_samples_of_cdevents(service: Service, publisher: AsyncClient) -> None:
    if not SAMPLES.is_dir():
        pytest.skip("the shared test data is not here")
    files = sorted(SAMPLES.glob("*.json"))
    for file in files:
        body = json.loads(file.read_text())
        body["context"]["id"] = file.stem
        answer = await publisher.post("/v1/events", json=body)
        assert answer.json() == {"accepted": 1, "duplicates": 0}, (file.stem, answer.text)
    assert {event.id: event.type.removeprefix("dev.entresol.") for event in await outside(service)} == {
        "artifact_published": "artifact.published.v1",
        "change_merged": "change.merged.v1",
        "environment_created": "external.received.v1",
        "incident_detected": "alert.fired.v1",
        "pipelinerun_finished": "pipeline.finished.v1",
        "service_deployed": "deployment.reported.v1",
    }


@pytest.mark.parametrize("headers", [{"Content-Type": "application/json"}, {"Content-Type": "text/plain"}, {}])
async def test_a_body_that_holds_no_events_is_refused(publisher: AsyncClient, headers: dict[str, str]) -> None:
    assert (await publisher.post("/v1/events", content=b'{"a":1}', headers=headers)).status_code == 415


async def test_the_handshake(publisher: AsyncClient) -> None:
    answer = await publisher.options("/v1/events", headers={"WebHook-Request-Origin": "ci.example"})
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "ci.example"
    assert (await publisher.options("/v1/events")).status_code == 400
