"""Removing what is past its retention."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from sqlalchemy import ColumnElement, Table, delete, func, insert, select, true, update
from sqlmodel import Session

from entresol_eventing.envelope import now
from entresol_eventing.reactions import Outcome
from entresol_eventing.store import arrival, cursor, inbox, outbox

_AT_ONCE = 1000


def horizon(name: str, keep: timedelta, ran_seconds: float, session: Session) -> datetime:
    """Return the time before which rows may be forgotten; call it in the transaction that forgets them.

    Rows grow old only while the service runs: `ran_seconds`, by a monotonic clock, since the last call. A jump of the
    wall clock therefore makes nothing old, and a clock that was set back does not hold it up for longer than it was.
    """
    target = now() - keep
    row = cursor.c.name == f"horizon-{name}"
    before = session.execute(select(cursor.c.position).where(row)).scalar()
    if before is None:
        session.execute(insert(cursor), [{"name": f"horizon-{name}", "position": int(target.timestamp())}])
        return target
    reached = min(int(target.timestamp()), before + int(ran_seconds))
    if reached != before:
        session.execute(update(cursor).where(row).values(position=reached))
    return datetime.fromtimestamp(reached, UTC)


def prune(retention_days: int, relayed: int, ran_seconds: float, session: Session) -> Generator[Outcome, None, None]:
    """Forget what is a day older than the bus keeps: nothing can be delivered after the inbox has forgotten it.

    Both tables are looked through from their beginning, and no further than they are old: their length does not
    matter, and what was written while a clock stood years back goes with its neighbours. The outbox's newest row
    stays, for the next position is counted from it.
    """
    before = horizon("log", timedelta(days=retention_days + 1), ran_seconds, session)
    _forget(inbox, arrival(session.connection()), inbox.c.seen_at, true(), before, session)
    last = select(func.max(outbox.c.position)).scalar_subquery()
    published = (outbox.c.position <= relayed) & (outbox.c.position < last)
    _forget(outbox, outbox.c.position, outbox.c.recorded_at, published, before, session)
    yield from ()


def _forget(
    table: Table,
    order: ColumnElement[int],
    written_at: ColumnElement[datetime],
    condition: ColumnElement[bool],
    before: datetime,
    session: Session,
) -> None:
    """Delete from the table's beginning in this order up to the first row that is not old enough, or not to go."""
    first = select(order, written_at).where(condition).order_by(order).limit(_AT_ONCE)
    while True:
        old = [row[0] for row in takewhile(lambda row: row[1] < before, session.execute(first))]
        if old:
            session.execute(delete(table).where(order <= old[-1]))
        if len(old) < _AT_ONCE:
            return
