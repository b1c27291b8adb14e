"""Requests are kept whole so that they can be examined again; locks, waivers, windows, quotas, the catalog.

Requests that wait while this runs were not kept whole: their inputs are unknown from here on, so a rule that reads one
denies. Policy hears of resources and entities from here on; refill its projections by reading the log anew if quotas
or rules need what came before.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from entresol_eventing.store import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "manifest",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
    )
    op.execute(
        "INSERT INTO manifest (kind, name, digest, manifest) SELECT 'Policy', name, digest, manifest FROM policy"
    )
    op.drop_table("policy")
    request = op.create_table(
        "request",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON()),
        sa.Column("holds", sa.JSON(), nullable=False),
        sa.Column("overridden", sa.JSON(), nullable=False),
        sa.Column("cause", sa.JSON(), nullable=False),
    )
    op.create_index("request_state", "request", ["state", "id"])
    connection = op.get_bind()
    asked = {row.id: row for row in connection.execute(sa.select(_ASKED))}
    answered = list(connection.execute(sa.select(_APPROVAL)))
    op.drop_table("waiting_request")
    op.drop_table("approval")
    approval = op.create_table(
        "approval",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("plan_digest", sa.String()),
        sa.Column("ask", sa.JSON(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
    )
    op.create_index("approval_request", "approval", ["request_id"])
    op.bulk_insert(request, [_request(row) for row in asked.values()])
    op.bulk_insert(approval, [_approval(row, asked[row.request_id].requested_by) for row in answered])
    op.create_table(
        "lock",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("because", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("exempt", sa.JSON(), nullable=False),
        sa.Column("until", UtcDateTime()),
    )
    op.create_table(
        "waiver",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("waives", sa.String(), nullable=False),
        sa.Column("rule", sa.Integer()),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("ticket", sa.String(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "entity",
        sa.Column("blueprint", sa.String(), primary_key=True),
        sa.Column("identifier", sa.String(), primary_key=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
    )
    op.create_table(
        "score",
        sa.Column("blueprint", sa.String(), primary_key=True),
        sa.Column("identifier", sa.String(), primary_key=True),
        sa.Column("scorecard", sa.String(), primary_key=True),
        sa.Column("document", sa.JSON(), nullable=False),
    )
    op.create_table(
        "resource",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("document", sa.JSON(), nullable=False),
    )
    op.create_table(
        "share",
        sa.Column("quota", sa.String(), primary_key=True),
        sa.Column("resource_id", sa.String(), primary_key=True),
        sa.Column("request_id", sa.String(), primary_key=True),
        sa.Column("per", sa.String(), nullable=False),
        sa.Column("amount", sa.Float(), nullable=False),
        sa.Column("uncounted", sa.String()),
    )
    op.create_index("share_quota", "share", ["quota", "per"])
    op.create_index("share_request", "share", ["request_id"])


_ASKED = sa.table(
    "waiting_request",
    *(sa.column(name) for name in ("id", "resource_id", "project", "requested_by", "state")),
)
_APPROVAL = sa.table(
    "approval",
    *(sa.column(name) for name in ("id", "request_id", "policy", "count", "not_self", "state")),
    sa.column("expires_at", UtcDateTime()),
    sa.column("approvers", sa.JSON()),
    sa.column("answers", sa.JSON()),
)


def _request(row: sa.Row[Any]) -> dict[str, Any]:
    """A request as far as it was kept."""
    project, environment, offering, name = (*row.resource_id.split("/", 3), "", "", "", "")[:4]
    document = {
        "request_id": row.id,
        "resource_id": row.resource_id,
        "project": project,
        "environment": environment,
        "offering": offering,
        "offering_version": "unknown",
        "action": "unknown",
        "name": name,
        "inputs": {},
        "actor": {"id": row.requested_by, "groups": []},
    }
    cause = {"correlationid": row.id, "actor": row.requested_by}
    return {"id": row.id, "state": row.state, "document": document, "holds": [], "overridden": [], "cause": cause}


def _approval(row: sa.Row[Any], requested_by: str) -> dict[str, Any]:
    asked = {"approvers": row.approvers, "count": row.count, "not_self": bool(row.not_self), "all": False}
    answers = [
        {"by": one["by"], "answer": one["answer"], "reason": one.get("reason"), "at": one["at"]}
        | {"in_place_of": None, "stands_for": row.approvers}
        for one in row.answers
    ]
    standing = {"requested_by": requested_by, "expires_at": row.expires_at.isoformat(), "state": row.state}
    return {
        "id": row.id,
        "request_id": row.request_id,
        "policy": row.policy,
        "state": row.state,
        "ask": {**asked, "within_seconds": 0},
        "document": {
            **asked,
            **standing,
            "answers": answers,
            "review": False,
            "delegations": [],
            "escalated_to": [],
        },
    }
