"""The envelope: CloudEvents 1.0 in structured JSON, as every event on the log is written.

An event without an id is refused, never given one: an invented id would make every redelivery a new event.
"""

import hashlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from entresol_contracts import EVENT_TYPES, EventType, Payload
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json, to_json

CONTENT_TYPE = "application/cloudevents+json"
MAX_DATA_BYTES = 256 * 1024
MAX_ATTRIBUTE_BYTES = 1024
"""Attributes are keys in databases: PostgreSQL indexes at most 2,704 bytes, and the inbox's key is two of them."""
MAX_HOPS = 32

P = TypeVar("P", bound=Payload)
P_co = TypeVar("P_co", bound=Payload, covariant=True)


class Malformed(ValueError):
    """A message that is no event of the contract; its text says why, without the message's content."""


class Cause(BaseModel):
    """What an effect remembers of the event it answers; small enough to be stored beside an intent."""

    model_config = ConfigDict(frozen=True)

    id: str | None = None
    correlationid: str | None = None
    hopcount: int = -1
    actor: str | None = None
    traceparent: str | None = None


class Event(BaseModel, Generic[P_co]):
    """One event: the attributes of the contract around a payload. Immutable."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    correlationid: str
    causationid: str | None = None
    partitionkey: str
    sequence: int | None = None
    hopcount: int = 0
    actor: str
    traceparent: str | None = None
    data: P_co

    @property
    def cause(self) -> Cause:
        return Cause(
            id=self.id,
            correlationid=self.correlationid,
            hopcount=self.hopcount,
            actor=self.actor,
            traceparent=self.traceparent,
        )


@cache
def types_by_name() -> Mapping[str, EventType]:
    """Every event type of the contract by its CloudEvents `type`."""
    return {known.type: known for known in EVENT_TYPES}


@cache
def types_by_model() -> Mapping[type[Payload], EventType]:
    return {known.model: known for known in EVENT_TYPES}


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random, so ids sort by time of creation."""
    random = int.from_bytes(os.urandom(10))
    value = (time.time_ns() // 1_000_000) << 80 | 7 << 76 | random & ~(0xF << 76)
    value = value & ~(0b11 << 62) | 0b10 << 62  # the variant
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def now() -> datetime:
    return datetime.now(UTC)


_SLUG = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def subject_key(identifier: str) -> str:
    """The last token of a NATS subject: the identifier if it is a slug, else a digest of it.

    `.`, `*`, `>` and blanks mean something in a subject, so an identifier that may hold them never goes in raw.
    """
    return identifier if _SLUG.match(identifier) else hashlib.sha256(identifier.encode()).hexdigest()[:32]


def log_subject(service: str, known: EventType, subject: str) -> str:
    """`entresol.<publisher>.<aggregate>.<fact>.<key>`: where an event of this type lies on the log."""
    return f"entresol.{service}.{known.fact}.{subject_key(subject)}"


def encode(event: Event[Payload]) -> bytes:
    """Write the event in structured mode; raise Malformed if its data exceeds 256 KiB."""
    return _capped(event.model_dump_json(exclude_none=True, by_alias=True).encode(), event.type, event.data)


def compose(attributes: Mapping[str, Any], data: Payload) -> bytes:
    """Write what `encode` writes of an event with these attributes, without building the event first.

    Attributes that are None must be left out.
    """
    body = to_json({**attributes, "data": data}, exclude_none=True, by_alias=True)
    return _capped(body, attributes["type"], data)


def _capped(body: bytes, event_type: str, data: Payload) -> bytes:
    if len(body) > MAX_DATA_BYTES and len(data.model_dump_json().encode()) > MAX_DATA_BYTES:
        raise Malformed(f"the data of {event_type} exceeds {MAX_DATA_BYTES // 1024} KiB; store it and refer to it")
    return body


@cache
def _event_model(payload: type[Payload]) -> type[Event[Payload]]:
    return Event[payload]  # type: ignore[valid-type]


def decode(body: bytes) -> Event[Payload]:
    """Read an event of the contract; raise Malformed if it is anything else."""
    try:
        document: Any = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Malformed("not a JSON object")
    named = document.get("type")
    known = types_by_name().get(named) if isinstance(named, str) else None
    if known is None:
        raise Malformed("an event type that the contract does not have")
    try:
        event = _event_model(known.model).model_validate(document)
    except ValidationError as error:
        places = ", ".join(
            "/".join(["", *map(str, problem["loc"])]) + " " + problem["msg"].lower()
            for problem in error.errors(include_url=False, include_input=False)[:5]
        )
        raise Malformed(f"does not fit {known.dataschema}: {places}") from None
    for name in _KEYS:
        value = getattr(event, name)
        if value is not None and ("\0" in value or not 0 < len(value.encode()) <= MAX_ATTRIBUTE_BYTES):
            raise Malformed(f"/{name} must hold 1 to {MAX_ATTRIBUTE_BYTES} bytes and no NUL")
    return event


_KEYS = ("id", "source", "subject", "correlationid", "causationid", "partitionkey", "actor")


def covered(subject: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns already matches everything that the subject does."""
    tokens = subject.split(".")
    for pattern in patterns:
        for index, token in enumerate(pattern.split(".")):
            if token == ">":
                return True
            if index >= len(tokens) or token not in ("*", tokens[index]):
                break
        else:
            if len(pattern.split(".")) == len(tokens):
                return True
    return False
