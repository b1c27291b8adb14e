"""What a transaction writes beside the state: the events that its units said, their deadlines, and how far was read."""

from sqlalchemy import Connection, bindparam, delete, insert, update

from entresol_eventing.statements import Statement
from entresol_eventing.store import cursor, deadline, outbox
from entresol_eventing.units import Recorded

# Built once: building costs more than running them.
_RECORD = Statement(insert(outbox))
_FORGET_DEADLINES = delete(deadline).where(deadline.c.key.in_(bindparam("keys", expanding=True)))
_MOVE_CURSOR = Statement(update(cursor).where(cursor.c.name == bindparam("cursor")).values(position=bindparam("at")))


def record(connection: Connection, recorded: Recorded, first_position: int) -> None:
    """Write it; the events get their positions, from the first one on. The latest word on a deadline replaces it."""
    if recorded.events:
        for offset, row in enumerate(recorded.events):
            row["position"] = first_position + offset
        _RECORD.many(connection, recorded.events)
    if recorded.deadlines:
        connection.execute(_FORGET_DEADLINES, {"keys": list(recorded.deadlines)})
        rows = [
            {
                "key": one.key,
                "kind": one.kind,
                "due_at": one.due_at,
                "args": dict(one.args),
                "cause": one.cause.model_dump(mode="json") if one.cause else {},
                "attempts": 0,
            }
            for one in recorded.deadlines.values()
            if one is not None
        ]
        if rows:
            connection.execute(insert(deadline), rows)
    for name, position in recorded.cursors.items():
        save_cursor(connection, name, position)


def save_cursor(connection: Connection, name: str, position: int) -> None:
    if not _MOVE_CURSOR.change(connection, cursor=name, at=position):
        connection.execute(insert(cursor), {"name": name, "position": position})
