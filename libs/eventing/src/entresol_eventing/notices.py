"""What the park says on the log, where operators see it: which message keeps failing or is given up, and why.

A message that is itself such a notice is not told of: that would never end.
"""

import base64
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from entresol_contracts.events import MessageParked, MessageQuarantined
from sqlalchemy import Row, func, select
from sqlmodel import Session

from entresol_eventing.envelope import MAX_HOPS, Cause, Event, Malformed, decode
from entresol_eventing.reactions import Emit, Outcome
from entresol_eventing.store import parked

if TYPE_CHECKING:
    from entresol_eventing.consumer import Message

SHOWN_BYTES = 64 * 1024


def origin(message: "Message | Row[Any] | None") -> Cause:
    """What a message says about its chain; empty if it says nothing that can be read.

    However long the chain is: what is said about it must not be taken for another turn of a loop.
    """
    if message is None:
        return Cause()
    try:
        cause = decode(message.body).cause
    except Malformed:
        return Cause()
    return cause.model_copy(update={"hopcount": min(cause.hopcount, MAX_HOPS - 1)})


def plain(reason: str) -> str:
    """Text that every database takes and every event can carry: no NUL, no lone surrogate, and not much of it."""
    return reason.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:2000]


def quarantined(row: Row[Any], reason: str, attempts: int, service: str, session: Session) -> Iterator[Outcome]:
    """Say that a message is dead."""
    if _is_notice(row):
        return
    yield Emit(
        MessageQuarantined(
            **_described(row, service, session),
            reason=plain(reason),
            attempts=attempts,
            body=base64.b64encode(row.body[:SHOWN_BYTES]).decode() or None,
        ),
        subject=row.id,
    )


def still_parked(row: Row[Any], service: str, session: Session) -> Iterator[Outcome]:
    """Say that a message keeps failing, and when it is tried next."""
    if _is_notice(row):
        return
    described = _described(row, service, session)
    parked_now = MessageParked(**described, reason=row.reason, attempts=row.attempts, retry_at=row.retry_at)
    yield Emit(parked_now, subject=row.id)


def _is_notice(row: Row[Any]) -> bool:
    """Whether it is a notice of ours that fails; what only lies where notices lie, and can't be read, is told of."""
    try:
        return isinstance(decode(row.body).data, MessageQuarantined | MessageParked)
    except Malformed:
        return False


def _described(row: Row[Any], service: str, session: Session) -> dict[str, Any]:
    try:
        event: Event[Any] | None = decode(row.body)
    except Malformed:
        event = None
    behind = 0
    if row.partitionkey is not None:
        waiting = (parked.c.partitionkey == row.partitionkey) & (parked.c.state == "behind")
        behind = session.execute(select(func.count()).select_from(parked).where(waiting)).scalar_one()
    return {
        "message_id": row.id,
        "service": service,
        "log_subject": row.log_subject,
        "event_id": event.id if event else None,
        "event_type": event.type if event else None,
        "event_partitionkey": row.partitionkey,
        "behind": behind,
        "size_bytes": len(row.body),
        "digest": "sha256:" + hashlib.sha256(row.body).hexdigest(),
    }
