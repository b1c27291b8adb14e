"""Outside events on their way to the log: said in Entresol's words where it has them, kept whole where not.

Sender, id and source stay what the sender gave. A copy of (source, id) is folded into the first, in the transaction
that records it.
"""

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from entresol_contracts import Payload
from entresol_contracts.events import DeliveryRefused, ExternalReceived
from entresol_eventing.envelope import MAX_DATA_BYTES, types_by_name
from entresol_eventing.reactions import Emit
from pydantic import ValidationError
from sqlmodel import Session

from entresol_intake.domain.cdevents import translate
from entresol_intake.domain.faults import Fault, Invalid, pointer
from entresol_intake.domain.outside import CDEVENTS_PREFIX, MAX_KEY_BYTES, Fact, Outside, fact_name
from entresol_intake.store import remember_received, unknown

SPARE_BYTES: Final = 2048
"""Left of the limit for what surrounds the data."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One event, ready to be recorded."""

    id: str
    source: str
    subject: str
    partitionkey: str
    data: Payload


def state(outside: Outside) -> Statement:
    """What an outside event will be on the log; raise Invalid if its data does not fit what its type claims."""
    fact = None
    if (name := fact_name(outside.type)) is not None:
        if not isinstance(outside.data, dict):
            raise Invalid([Fault("/data", "must be a JSON object")])
        fact = Fact(name, outside.data)
    elif outside.type.startswith(CDEVENTS_PREFIX):
        fact = translate(outside.type, outside.data)
    if fact is not None:
        return state_fact(fact, outside.id, outside.source, outside.subject)
    if size_of(outside.whole) > MAX_DATA_BYTES - SPARE_BYTES:
        raise Invalid([Fault("/data", f"exceeds {MAX_DATA_BYTES // 1024} KiB; send a reference to it instead")])
    subject = outside.subject or outside.source
    return Statement(outside.id, outside.source, subject, subject, ExternalReceived(event=dict(outside.whole)))


def state_fact(fact: Fact, event_id: str, source: str, subject: str | None = None) -> Statement:
    """A fact as a statement; raise Invalid with pointers below /data if it does not fit the contract."""
    model = types_by_name()[f"dev.entresol.{fact.name}.v1"].model
    try:
        data = model.model_validate(fact.data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise Invalid(Fault(pointer("data", *each["loc"]), each["msg"].lower()) for each in problems[:50]) from None
    empty = [name for name, each in model.model_fields.items() if each.is_required() and getattr(data, name) == ""]
    if empty:
        raise Invalid(Fault(pointer("data", name), "must not be empty") for name in empty)
    if size_of(fact.data) > MAX_DATA_BYTES - SPARE_BYTES:
        raise Invalid([Fault("/data", f"exceeds {MAX_DATA_BYTES // 1024} KiB")])
    about = key_of(fact.subject or source)
    return Statement(event_id, source, subject or about, about, data)


def key_of(text: str) -> str:
    """The text itself if it can be a key on the log, else its digest."""
    encoded = text.encode()
    return text if len(encoded) <= MAX_KEY_BYTES else f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def size_of(document: Mapping[str, Any]) -> int:
    return len(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())


def receive(
    statements: Sequence[Statement], door: str, actor: str, at: datetime, session: Session
) -> Generator[Emit, None, tuple[int, int]]:
    """Record what was not received before; return how many were and how many were copies."""
    first = {(each.source, each.id): each for each in reversed(statements)}
    new = unknown(list(first), session)
    remember_received([key for key in first if key in new], door, at, session)
    accepted = 0
    for each in statements:
        key = (each.source, each.id)
        if key not in new or first[key] is not each:
            continue
        accepted += 1
        yield Emit(
            data=each.data,
            subject=each.subject,
            partitionkey=each.partitionkey,
            id=each.id,
            source=each.source,
            actor=actor,
        )
    return accepted, len(statements) - accepted


def refused(door: str, source: str, reason: str, body: bytes | None = None) -> Emit:
    """Tell that something was not let in: never what it held, only its digest and size."""
    return Emit(
        DeliveryRefused(
            door=cast(Literal["http", "hook", "nats"], door),
            source=source,
            reason=reason[:2000],
            digest=None if body is None else f"sha256:{hashlib.sha256(body).hexdigest()}",
            size_bytes=None if body is None else len(body),
        ),
        subject=source,
    )
