"""What the runtime writes is what the contract says, for anybody who reads it by the contract alone."""

import json
from datetime import timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from entresol_contracts import EVENT_TYPES, EventType, Payload
from entresol_eventing.envelope import Event, Malformed, compose, decode, encode, log_subject, new_id, now

from tests.contract import schemas

CASES = [(known, size) for known in EVENT_TYPES for size in schemas.SIZES]
IDS = [f"{known.fact}.{size}" for known, size in CASES]
SUBMITTED = next(known for known in EVENT_TYPES if known.fact == "request.submitted")


def event(known: EventType, size: str = "full", **attributes: Any) -> Event[Payload]:
    publisher = "policy" if known.publisher == "any" else known.publisher
    root = new_id()
    required: dict[str, Any] = {
        "id": root,
        "source": f"/entresol/{publisher}",
        "type": known.type,
        "subject": "shop/staging/database/orders",
        "time": now(),
        "dataschema": known.dataschema,
        "correlationid": root,
        "partitionkey": "shop/staging/database/orders",
        "actor": "user:ada",
        "data": known.model.model_validate(schemas.example(f"{known.fact}.v{known.major}", size)),
    }
    return Event[known.model].model_validate(required | attributes)  # type: ignore[name-defined]


ALL_ATTRIBUTES: dict[str, Any] = {
    "causationid": new_id(),
    "sequence": 7,
    "hopcount": 3,
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


@pytest.mark.parametrize(("known", "size"), CASES, ids=IDS)
def test_a_written_event_fits_the_envelope_and_the_schema_of_its_data(known: EventType, size: str) -> None:
    written = json.loads(encode(event(known, size)))
    schemas.envelope_validator().validate(written)
    schemas.event_validator(f"{known.fact}.v{known.major}").validate(written["data"])


def test_an_event_with_every_attribute_fits_the_envelope() -> None:
    written = json.loads(encode(event(SUBMITTED, **ALL_ATTRIBUTES)))
    schemas.envelope_validator().validate(written)
    described = schemas.load(schemas.SCHEMAS / "envelope.v1.json")["properties"].keys()
    assert written.keys() == described


def test_the_envelope_requires_exactly_what_an_event_always_has() -> None:
    written = json.loads(encode(event(SUBMITTED)))
    assert written.keys() == set(schemas.load(schemas.SCHEMAS / "envelope.v1.json")["required"])


@pytest.mark.parametrize(("known", "size"), CASES, ids=IDS)
def test_a_written_event_is_a_cloud_event_for_the_sdk(known: EventType, size: str) -> None:
    original = event(known, size, **ALL_ATTRIBUTES)
    read = JSONFormat().read(CloudEvent, encode(original))
    assert read.get_id() == original.id
    assert read.get_source() == original.source
    assert read.get_type() == known.type
    assert read.get_subject() == original.subject
    assert read.get_time() == original.time
    assert read.get_dataschema() == known.dataschema
    assert read.get_datacontenttype() == "application/json"
    assert read.get_extension("correlationid") == original.correlationid
    assert read.get_extension("sequence") == 7
    assert read.get_data() == json.loads(original.data.model_dump_json(by_alias=True, exclude_none=True))


@pytest.mark.parametrize(("known", "size"), CASES, ids=IDS)
def test_an_event_is_read_as_it_was_written(known: EventType, size: str) -> None:
    original = event(known, size, **ALL_ATTRIBUTES)
    read = decode(encode(original))
    assert read.model_dump() == original.model_dump()
    assert type(read.data) is known.model


@pytest.mark.parametrize(("known", "size"), CASES, ids=IDS)
def test_a_composed_event_is_the_encoded_one(known: EventType, size: str) -> None:
    original = event(known, size, **ALL_ATTRIBUTES)
    attributes = {name: value for name in Event.model_fields if (value := getattr(original, name)) is not None}
    assert json.loads(compose(attributes, attributes.pop("data"))) == json.loads(encode(original))


def test_times_are_written_with_their_offset() -> None:
    east = timezone(timedelta(hours=2))
    written = json.loads(encode(event(SUBMITTED, time=now().astimezone(east))))
    schemas.envelope_validator().validate(written)


@pytest.mark.parametrize("known", EVENT_TYPES, ids=lambda known: known.fact)
def test_an_event_lies_on_the_log_where_asyncapi_says(known: EventType) -> None:
    publisher = "catalog" if known.publisher == "any" else known.publisher
    channel = schemas.load(schemas.SCHEMAS / "asyncapi.json")["channels"][f"{known.fact}.v{known.major}"]
    key = new_id()
    assert log_subject(publisher, known, key) == channel["address"].format(key=key, service=publisher)


def test_attributes_that_others_add_are_welcome() -> None:
    written = json.loads(encode(event(SUBMITTED))) | {"comexampletenant": "acme"}
    schemas.envelope_validator().validate(written)
    assert decode(json.dumps(written).encode()).type == SUBMITTED.type


BROKEN: dict[str, dict[str, Any]] = {
    "another version of CloudEvents": {"specversion": "0.3"},
    "an empty id": {"id": ""},
    "an empty source": {"source": ""},
    "a foreign type": {"type": "com.example.order.placed.v1"},
    "a type without a major version": {"type": "dev.entresol.request.submitted"},
    "a time without an offset": {"time": "2026-11-21T10:00:00"},
    "data that is no object": {"data": [1]},
    "a hop count below zero": {"hopcount": -1},
    "a sequence that is text": {"sequence": "7"},
    "a mangled trace context": {"traceparent": "00-xyz"},
    "an attribute name that CloudEvents forbids": {"Tenant-Id": "acme"},
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_envelope_refuses(case: str) -> None:
    written = json.loads(encode(event(SUBMITTED))) | BROKEN[case]
    assert not schemas.envelope_validator().is_valid(written)


@pytest.mark.parametrize("attribute", ["id", "source", "type", "subject", "time", "dataschema", "actor", "data"])
def test_an_event_that_lacks_an_attribute_is_refused_by_schema_and_runtime(attribute: str) -> None:
    written = json.loads(encode(event(SUBMITTED)))
    del written[attribute]
    assert not schemas.envelope_validator().is_valid(written)
    with pytest.raises(Malformed):
        decode(json.dumps(written).encode())
