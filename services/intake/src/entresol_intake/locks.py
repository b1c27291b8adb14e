"""Locks: nobody changes what one names until it ends. Intake knows who placed it; what it holds, policy says."""

from collections.abc import Generator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from entresol_contracts.events import LockLifted, LockPlaced
from entresol_contracts.events import Scope as Named
from entresol_eventing.reactions import Emit
from sqlmodel import Session

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.domain.faults import Fault, pointer
from entresol_intake.domain.scopes import LOCKABLE, Scope, read_scope
from entresol_intake.domain.shapes import Fields, is_actor
from entresol_intake.store import add, end, locks
from entresol_intake.terms import FIELDS as TERM
from entresol_intake.terms import read_end

EXEMPTIBLE: Final = ("user", "ci", "service", "trigger", "system")


@dataclass(frozen=True, slots=True)
class Lock:
    scope: Scope
    reason: str
    exempt: tuple[str, ...]
    ends_at: datetime | None


def read_lock(document: object, at: datetime) -> Lock:
    """Read a lock from JSON; raise Invalid with all that is wrong."""
    fields = Fields(document, ("scope", "reason", "exempt", *TERM))
    lock = Lock(
        scope=read_scope(fields, LOCKABLE),
        reason=fields.text("reason", most=MAX_REASON, required=True) or "",
        exempt=tuple(fields.texts("exempt", most=255, default=[])),
        ends_at=read_end(fields, at),
    )
    for index, name in enumerate(lock.exempt):
        if not is_actor(name, EXEMPTIBLE) and not _is_group(name):
            detail = f"must be group:, or an actor ({', '.join(EXEMPTIBLE)}), and a name"
            fields.faults.append(Fault(pointer("exempt", index), detail))
    fields.done()
    return lock


def _is_group(name: str) -> bool:
    kind, _, group = name.partition(":")
    return kind == "group" and group != "" and name.isprintable()


def place(lock: Lock, lock_id: str, by: str, at: datetime, session: Session) -> Generator[Emit, None, None]:
    row = {
        "lock_id": lock_id,
        "placed_by": by,
        "project": lock.scope.within,
        "placed_at": at,
        "ends_at": lock.ends_at,
        "ended_at": None,
    }
    add(session, locks, row)
    placed = LockPlaced(
        lock_id=lock_id,
        scope=Named(**asdict(lock.scope)),
        reason=lock.reason,
        by=by,
        exempt=list(lock.exempt),
        until=lock.ends_at,
    )
    yield Emit(placed, subject=lock_id, correlationid=lock_id)


def lift(lock_id: str, by: str, reason: str | None, at: datetime, session: Session) -> Generator[Emit, None, bool]:
    """End a lock before its time; return False if it has ended already."""
    if not end(locks, lock_id, at, session):
        return False
    yield Emit(LockLifted(lock_id=lock_id, by=by, reason=reason), subject=lock_id, correlationid=lock_id)
    return True
