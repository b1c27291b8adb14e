"""What people said to approvals and holds has the event in which they said it, and approvals say who is still needed.

What was shown before stays as it is: what was not refused counts.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

BITE = 1000
SAID = {
    "dev.entresol.approval.answered.v1": "approval_id",
    "dev.entresol.answer.withdrawn.v1": "approval_id",
    "dev.entresol.approval.delegated.v1": "approval_id",
    "dev.entresol.hold.overridden.v1": "request_id",
}
"""The events in which people say something, and what of them names what they say it to."""

history = sa.table("history", *map(sa.column, ("position", "type", "body")))
request = sa.table("request", *map(sa.column, ("id", "position", "document")))
approval = sa.table("approval", *map(sa.column, ("id", "position", "document")))

Document: TypeAlias = dict[str, Any]
Events: TypeAlias = dict[tuple[str, str, datetime], str]
"""By what it is about, who said it, and when."""


def upgrade() -> None:
    connection = op.get_bind()
    events: Events = {}
    wanted = sa.select(history.c.position, history.c.body).where(history.c.type.in_(SAID))
    for _, body in _each(connection, wanted, history):
        event = json.loads(body)
        data = event["data"]
        events[data[SAID[event["type"]]], data["by"], datetime.fromisoformat(event["time"])] = event["id"]
    _change(connection, approval, lambda document: _approval(document, events))
    _change(connection, request, lambda document: _request(document, events))


def downgrade() -> None:
    """What is there besides does no harm."""


def _request(document: Document, events: Events) -> bool:
    for one in document.get("overrides", ()):
        one["event"] = _event(document["id"], one, events)
        one["counts"] = False if one.get("refused") else None if document["state"] == "held" else True
    for one in document.get("approvals", ()):
        _approval(one, events)
    return bool(document.get("overrides") or document.get("approvals"))


def _approval(document: Document, events: Events) -> bool:
    answers, delegations = document["answers"], document.get("delegations", ())
    withdrawn = document.get("withdrawn", ())
    for one in (*answers, *(each["answer"] for each in withdrawn)):
        one |= {"event": _event(document["id"], one, events), "in_place_of": None, "stands_for": []}
    for one in (*withdrawn, *delegations, *document["refused"]):
        one["event"] = _event(document["id"], one, events)
    document |= {"unruled": [], "missing": 0, "missing_from": []}
    if document["state"] == "pending":
        needed = len(document["approvers"]) if document.get("all") else document["count"]
        document["missing"] = max(0, needed - len(answers))
        others = {one["by"] for one in answers} | ({document["requested_by"]} if document["not_self"] else set())
        asked = dict.fromkeys([*document["approvers"], *(one["to"] for one in delegations)])
        document["missing_from"] = [one for one in asked if one not in others]
    return True


def _event(about: str, said: Document, events: Events) -> str:
    """The id of the event in which it was said; empty if history does not know."""
    return said.get("event") or events.get((about, said["by"], datetime.fromisoformat(said["at"])), "")


def _change(connection: sa.Connection, table: sa.TableClause, change: Callable[[Document], bool]) -> None:
    this = table.update().where(table.c.id == sa.bindparam("key")).values(document=sa.bindparam("text"))
    changes = []
    for _, key, text in _each(connection, sa.select(table.c.position, table.c.id, table.c.document), table):
        document = json.loads(text)
        if change(document):
            changes.append({"key": key, "text": json.dumps(document, ensure_ascii=False, separators=(",", ":"))})
    for start in range(0, len(changes), BITE):
        connection.execute(this, changes[start : start + BITE])


def _each(connection: sa.Connection, query: Any, table: sa.TableClause) -> Iterator[Any]:
    """The rows in the order of their positions."""
    after = -1
    while rows := connection.execute(
        query.where(table.c.position > after).order_by(table.c.position).limit(BITE)
    ).all():
        yield from rows
        after = rows[-1][0]
