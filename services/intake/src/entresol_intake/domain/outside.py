"""Events that others send: what a CloudEvent must be to be let in, and which of Entresol's facts it may state.

A publisher may state outside facts (a change was merged, an alert fired). It may never state an inside one
(a request was allowed), nor speak as one of the services: consumers tell events apart by source and id.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from entresol_intake.domain.faults import Fault, Invalid, pointer

OUTSIDE_FACTS: Final = (
    "change.pushed",
    "change.proposed",
    "change.merged",
    "artifact.published",
    "pipeline.finished",
    "deployment.reported",
    "alert.fired",
    "alert.resolved",
)
EXTERNAL: Final = "external.received"
INSIDE_PREFIX: Final = "dev.entresol."
CDEVENTS_PREFIX: Final = "dev.cdevents."
RESERVED_SOURCE: Final = "/entresol"
MAX_ID: Final = 512
MAX_SOURCE: Final = 1024
MAX_KEY_BYTES: Final = 1024
"""What the log takes of an attribute that is a key in databases, as UTF-8."""
MAX_TEXT: Final = 4096

_BOUNDARY: Final = "/:#?"
_attribute_name = re.compile(r"[a-z0-9]{1,64}").fullmatch


@dataclass(frozen=True, slots=True)
class Outside:
    """One CloudEvent of a sender, checked."""

    id: str
    source: str
    type: str
    subject: str | None
    time: str | None
    data: Any
    whole: Mapping[str, Any]
    """The event as it arrived, in CloudEvents' JSON form."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What an outside event says in Entresol's words."""

    name: str
    """Such as `change.merged`."""
    data: Mapping[str, Any]

    @property
    def subject(self) -> str:
        """What the fact is about; facts about the same thing stay in order."""
        repository = self.data.get("repository")
        for key in ("artifact", "alert", "service"):
            if isinstance(value := self.data.get(key), str) and not self.name.startswith("change."):
                return value
        if isinstance(repository, Mapping):
            return str(repository.get("full_name", ""))
        return str(self.data.get("pipeline", ""))


def read_event(document: object) -> Outside:
    """Read one CloudEvent 1.0 in its JSON form; raise Invalid if it is none, or may not come from outside.

    An event without an id is refused: an invented id would make each repetition a new event.
    """
    if not isinstance(document, dict):
        raise Invalid([Fault("", "must be a CloudEvent, a JSON object")])
    faults: list[Fault] = []

    def text(name: str, most: int, *, required: bool) -> str | None:
        value = document.get(name)
        if value is None and not required:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= most:
            faults.append(Fault(pointer(name), f"must be a text of 1 to {most} characters"))
            return None
        if name in ("id", "source", "subject") and len(value.encode()) > MAX_KEY_BYTES:
            faults.append(Fault(pointer(name), f"must be at most {MAX_KEY_BYTES} bytes of UTF-8"))
            return None
        return value

    if document.get("specversion") != "1.0":
        faults.append(Fault("/specversion", "must be 1.0"))
    event_id = text("id", MAX_ID, required=True)
    source = text("source", MAX_SOURCE, required=True)
    event_type = text("type", MAX_TEXT, required=True)
    subject = text("subject", MAX_SOURCE, required=False)
    time = text("time", 64, required=False)
    text("datacontenttype", 255, required=False)
    text("dataschema", MAX_TEXT, required=False)
    if source is not None and (source == RESERVED_SOURCE or source.startswith(RESERVED_SOURCE + "/")):
        faults.append(Fault("/source", "is reserved for Entresol's own services"))
    if time is not None and not is_time(time):
        faults.append(Fault("/time", "must be an RFC 3339 time with a zone"))
    if "data" in document and "data_base64" in document:
        faults.append(Fault("/data_base64", "can't stand beside data"))
    for name, value in document.items():
        if name in ("data", "data_base64"):
            continue
        if _attribute_name(name) is None:
            faults.append(Fault(pointer(name), "is no attribute name: lower-case letters and digits only"))
        elif value is not None and not isinstance(value, str | bool | int):
            faults.append(Fault(pointer(name), "must be a text, a whole number or a boolean"))
    faults += [Fault("/type", fault) for fault in ([_forged(event_type)] if event_type else []) if fault]
    if faults or event_id is None or source is None or event_type is None:
        raise Invalid(faults)
    return Outside(event_id, source, event_type, subject, time, document.get("data"), document)


def is_time(value: str) -> bool:
    try:
        return len(value) >= 20 and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def fact_name(event_type: str) -> str | None:
    """The outside fact that a `dev.entresol.*.v1` type states, if it is one."""
    name = event_type.removeprefix(INSIDE_PREFIX).removesuffix(".v1")
    return name if name in OUTSIDE_FACTS and event_type == f"{INSIDE_PREFIX}{name}.v1" else None


def _forged(event_type: str) -> str | None:
    if event_type.startswith(INSIDE_PREFIX) and fact_name(event_type) is None:
        return f"can't be stated from outside; these can: {', '.join(OUTSIDE_FACTS)}"
    return None


def fits(source: str, prefixes: list[str]) -> bool:
    """Whether a source lies under one of the prefixes, which end at a boundary: `/ci` allows `/ci/cart`, not `/cia`."""
    for prefix in filter(None, prefixes):
        rest = source.removeprefix(prefix)
        if source == prefix or (rest != source and (prefix[-1] in _BOUNDARY or rest[0] in _BOUNDARY)):
            return True
    return False
