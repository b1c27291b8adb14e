"""Drift, pauses and revisions of resources, what needs them, and the stages of offerings.

What was projected before gets what is projected from now on, taken from history, so that the catalog is the same as one
that is rebuilt from the log.
"""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BITE = 1000
TYPE = "dev.entresol.{}.v1"
RESOURCE: dict[str, Any] = {
    "snapshot": 0,
    "implementation": None,
    "class": None,
    "requires": {},
    "adopted": False,
    "drift": None,
    "paused": None,
    "orphaned": [],
    "sequence": None,
}
REQUEST: dict[str, Any] = {
    "suspended": [],
    "requires": [],
    "compensated": [],
    "left": [],
    "class": None,
    "orphan": False,
    "snapshot": None,
    "requirement": None,
}
STEP: dict[str, Any] = {"retried": 0, "waited_at": None, "compensation": None}

history = sa.table("history", *map(sa.column, ("position", "type", "request_id", "body")))
request = sa.table("request", *map(sa.column, ("id", "position", "document")))
resource = sa.table("resource", *map(sa.column, ("id", "document", "version")))
made = sa.table("revision", *map(sa.column, ("resource", "request", "position", "document")))


def upgrade() -> None:
    op.create_table(
        "revision",
        sa.Column("resource", sa.String(), primary_key=True),
        sa.Column("request", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("revision_resource", "revision", ["resource", "position"])
    op.create_table(
        "need",
        sa.Column("resource", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
    )
    op.create_index("need_target", "need", ["target"])
    op.create_table(
        "offering",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("position", POSITION, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.add_column("resource", sa.Column("version", sa.String(), nullable=False, server_default=""))
    op.add_column("resource", sa.Column("drifted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("resource", sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("resource_offering", "resource", ["offering", "version"])
    connection = op.get_bind()
    _extend_resources(connection)
    _extend_requests(connection)


def downgrade() -> None:
    op.drop_index("resource_offering", "resource")
    for column in ("version", "drifted", "paused"):
        op.drop_column("resource", column)
    for name in ("offering", "need", "revision"):
        op.drop_table(name)


def _extend_resources(connection: sa.Connection) -> None:
    """Their revisions as the facts told of them: by `revision`, else by sequence, else counted."""
    known: dict[str, dict[str, Any]] = {}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    facts = ("provisioned", "changed", "extended", "expired", "deleted")
    for position, event in _events(connection, *(f"resource.{fact}" for fact in facts)):
        data, sequence = event["data"], event.get("sequence")
        one = known.setdefault(data["resource_id"], {"snapshot": 0, "sequence": None, "request": None})
        if sequence is not None:
            one["sequence"] = max(sequence, one["sequence"] or 0)
        if event["type"] not in (TYPE.format("resource.provisioned"), TYPE.format("resource.changed")):
            continue
        again = one["request"] == data["request_id"] and one["snapshot"]
        one["snapshot"] = sequence or (one["snapshot"] if again else one["snapshot"] + 1)
        one["request"] = data["request_id"]
        created = event["type"] == TYPE.format("resource.provisioned")
        key = (data["resource_id"], data["request_id"])
        rows[key] = {
            "resource": key[0],
            "request": key[1],
            "position": rows[key]["position"] if key in rows else position,
            "document": _written(
                {
                    "resource": key[0],
                    "revision": one["snapshot"],
                    "at": event["time"],
                    "request_id": key[1],
                    "action": "create" if created else data.get("action") or "update",
                    "version": data["offering_version"],
                    "inputs": data["inputs"],
                    "implementation": None,
                    "class": None,
                }
            ),
        }
    _each(connection, made.insert(), list(rows.values()))
    changes = []
    for row in connection.execute(sa.select(resource.c.id, resource.c.document)).all():
        document = json.loads(row.document)
        found = known.get(row.id, {})
        document |= RESOURCE | {name: found[name] for name in ("snapshot", "sequence") if name in found}
        changes.append({"key": row.id, "text": _written(document), "number": document["offering_version"]})
    this = resource.update().where(resource.c.id == sa.bindparam("key"))
    _each(connection, this.values(document=sa.bindparam("text"), version=sa.bindparam("number")), changes)


def _extend_requests(connection: sa.Connection) -> None:
    """What their runs had told already and was not shown: attempts that were in vain, and what was left."""
    retried: dict[tuple[str, str], int] = {}
    for _, event in _events(connection, "run.progressed", holding="retrying"):
        data = event["data"]
        if data["state"] == "retrying":
            key = (data["request_id"], data["step"])
            retried[key] = max(data["attempt"], retried.get(key, 0))
    left = {
        event["data"]["request_id"]: event["data"]["steps_done"]
        for _, event in _events(connection, "run.cancelled", holding="steps_done")
        if "steps_done" in event["data"]
    }
    this = request.update().where(request.c.id == sa.bindparam("key")).values(document=sa.bindparam("text"))
    after = -1
    while True:
        query = sa.select(request).where(request.c.position > after).order_by(request.c.position).limit(BITE)
        rows = connection.execute(query).all()
        if not rows:
            return
        changes = []
        for row in rows:
            document = json.loads(row.document) | REQUEST
            if document["state"] == "cancelled":
                document["left"] = left.get(row.id, [])
            for step in document["steps"]:
                step |= STEP | {"retried": retried.get((row.id, step["name"]), 0)}
            changes.append({"key": row.id, "text": _written(document)})
        _each(connection, this, changes)
        after = rows[-1].position


def _events(connection: sa.Connection, *facts: str, holding: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """Events of these types, in the order of the log."""
    types = [TYPE.format(fact) for fact in facts]
    after = -1
    while True:
        query = sa.select(history.c.position, history.c.body).where(
            history.c.type.in_(types), history.c.position > after, history.c.body.like(f"%{holding}%")
        )
        rows = connection.execute(query.order_by(history.c.position).limit(BITE)).all()
        if not rows:
            return
        for position, body in rows:
            yield position, json.loads(body)
        after = rows[-1][0]


def _each(connection: sa.Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), BITE):
        connection.execute(statement, rows[start : start + BITE])


def _written(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
