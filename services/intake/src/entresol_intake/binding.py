"""CloudEvents as they travel: structured, binary and batch, over HTTP and NATS; and bare CDEvents.

Bodies are always read by the strict parser. The SDK only takes the attributes out of `ce-*` headers, and is never
shown an event without an id, because it would invent one.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from entresol_eventing.http import strict_json

from entresol_intake.domain.cdevents import is_bare, wrap
from entresol_intake.domain.faults import Fault, Invalid, pointer, prefixed
from entresol_intake.domain.outside import Outside, read_event

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
MAX_BATCH: Final = 1000


class Unsupported(ValueError):
    """A body of a kind that is not read here."""


def read_events(headers: Mapping[str, str], body: bytes, *, otherwise: str = "") -> list[Outside]:
    """The events of one message; `otherwise` is the content type of one that has neither a type nor ce- headers.

    Raise Unsupported for a content type that holds no events, Invalid with pointers for a body that does not fit,
    and the strict parser's Problem for what is no JSON.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    binary = any(name.startswith("ce-") for name in lowered)
    content_type = lowered.get("content-type", "" if binary else otherwise)
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == BATCH:
        documents = strict_json(body)
        if not isinstance(documents, list) or len(documents) > MAX_BATCH:
            raise Invalid([Fault("", f"a batch must be an array of at most {MAX_BATCH} events")])
        return _read_all(documents)
    if media_type == STRUCTURED:
        return [read_event(strict_json(body))]
    if binary:
        return [read_event(_binary(lowered, media_type, body))]
    if media_type == "application/json" and is_bare(document := strict_json(body)):
        return [read_event(wrap(document))]
    raise Unsupported(f"events come as {STRUCTURED}, as {BATCH}, with ce- headers, or as a CDEvent in application/json")


def _read_all(documents: list[Any]) -> list[Outside]:
    events, faults = [], []
    for index, document in enumerate(documents):
        try:
            events.append(read_event(document))
        except Invalid as invalid:
            faults += prefixed(pointer(index), invalid.faults)
    if faults:
        raise Invalid(faults)
    return events


def _binary(headers: Mapping[str, str], media_type: str, body: bytes) -> dict[str, Any]:
    missing = [name for name in ("specversion", "id", "source", "type") if not headers.get(f"ce-{name}")]
    if missing:
        raise Invalid(Fault(pointer(name), f"is missing: the header ce-{name}") for name in missing)
    attributes = {name: value for name, value in headers.items() if name.startswith("ce-") and name != "ce-time"}
    try:
        event = from_binary(HTTPMessage(attributes, b""), JSONFormat())
    except (BaseCloudEventException, ValueError) as error:
        raise Invalid([Fault("", f"the ce- headers make no CloudEvent 1.0: {_first_line(error)}")]) from None
    document: dict[str, Any] = dict(event.get_attributes())
    document.pop("time", None)
    if "ce-time" in headers:
        document["time"] = headers["ce-time"].replace("%3A", ":")
    if media_type:
        document["datacontenttype"] = headers["content-type"]
    if not body:
        return document
    if not media_type or media_type in ("application/json", "text/json") or media_type.endswith("+json"):
        return document | {"data": strict_json(body)}
    if media_type.startswith("text/"):
        try:
            return document | {"data": body.decode()}
        except UnicodeDecodeError:
            raise Invalid([Fault("/data", "is not UTF-8 text")]) from None
    return document | {"data_base64": base64.b64encode(body).decode()}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["it does not fit"])[0][:200]
