"""The projection's tables: columns to find a thing by, and the thing itself as a JSON document.

Written in bulk by `shelf` and read by `reading`; there are no row objects, since this is the busiest service.
`position` is the place in `history` of the fact that a row began with: what every list is ordered by.
"""

from entresol_eventing.store import UtcDateTime
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()
_Position = BigInteger().with_variant(Integer(), "sqlite")

history = Table(
    "history",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=False),
    Column("id", String, nullable=False),
    Column("type", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("correlationid", String, nullable=False),
    Column("request_id", String),
    Column("project", String),
    Column("time", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),
    Index("history_correlationid", "correlationid"),
    Index("history_request_id", "request_id"),
    Index("history_type", "type", "position"),
    Index("history_project", "project", "position"),
)
"""Every event, in the order of the log."""

request = Table(
    "request",
    metadata,
    Column("id", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("project", String, nullable=False),
    Column("resource", String, nullable=False),
    Column("offering", String, nullable=False),
    Column("state", String, nullable=False),
    Column("check_at", UtcDateTime),
    Column("document", Text, nullable=False),
    Index("request_position", "position"),
    Index("request_project", "project", "position"),
    Index("request_resource", "resource", "position"),
    Index("request_state", "state", "position"),
    Index("request_check_at", "check_at"),
)

approval = Table(
    "approval",
    metadata,
    Column("id", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("project", String, nullable=False),
    Column("state", String, nullable=False),
    Column("review_by", UtcDateTime),
    Column("document", Text, nullable=False),
    Index("approval_position", "position"),
    Index("approval_state", "state", "position"),
)
"""`review_by` is when a review is due; null for an approval that a request waits for."""

resource = Table(
    "resource",
    metadata,
    Column("id", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("project", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("offering", String, nullable=False),
    Column("version", String, nullable=False),
    Column("state", String, nullable=False),
    Column("drifted", Boolean, nullable=False),
    Column("unobserved", Boolean, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Index("resource_position", "position"),
    Index("resource_project", "project", "position"),
    Index("resource_offering", "offering", "version"),
)

revision = Table(
    "revision",
    metadata,
    Column("resource", String, primary_key=True),
    Column("request", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("document", Text, nullable=False),
    Index("revision_resource", "resource", "position"),
)
"""What each request has made of a resource."""

need = Table(
    "need",
    metadata,
    Column("resource", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("project", String, nullable=False),
    Column("target", String, nullable=False),
    Index("need_target", "target"),
)
"""Which resources need which others. `project` is of the one that needs."""

offering = Table(
    "offering",
    metadata,
    Column("name", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("document", Text, nullable=False),
)
"""The stages of its versions, once one was told of; the versions themselves are manifests."""

entity = Table(
    "entity",
    metadata,
    Column("blueprint", String, primary_key=True),
    Column("identifier", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Index("entity_position", "position"),
)

relation = Table(
    "relation",
    metadata,
    Column("blueprint", String, primary_key=True),
    Column("identifier", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("target", String, primary_key=True),
    Index("relation_target", "target"),
)
"""Who points at what. The blueprint says of which type the target is."""

manifest = Table(
    "manifest",
    metadata,
    Column("kind", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Index("manifest_position", "position"),
)
"""`version` is empty for kinds that have none."""

driver = Table(
    "driver",
    metadata,
    Column("name", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("document", Text, nullable=False),
)

token = Table(
    "token",
    metadata,
    Column("id", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("hash", String, nullable=False),
    Column("document", Text, nullable=False),
    Index("token_position", "position"),
    Index("token_hash", "hash"),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("service", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("state", String, nullable=False),
    Column("document", Text, nullable=False),
    Index("dead_letter_position", "position"),
)

notification = Table(
    "notification",
    metadata,
    Column("id", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("project", String),
    Column("state", String, nullable=False),
    Column("document", Text, nullable=False),
    Index("notification_position", "position"),
)

lock = Table(
    "lock",
    metadata,
    Column("id", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("project", String),
    Column("state", String, nullable=False),
    Column("document", Text, nullable=False),
    Index("lock_position", "position"),
    Index("lock_state", "state", "position"),
)
"""`project` is null for a lock that is about every project; so it is for a waiver."""

waiver = Table(
    "waiver",
    metadata,
    Column("id", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("project", String),
    Column("state", String, nullable=False),
    Column("document", Text, nullable=False),
    Index("waiver_position", "position"),
    Index("waiver_state", "state", "position"),
)

standing = Table(
    "standing",
    metadata,
    Column("scorecard", String, primary_key=True),
    Column("blueprint", String, primary_key=True),
    Column("identifier", String, primary_key=True),
    Column("position", _Position, nullable=False),
    Column("level", String),
    Column("removed", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Index("standing_position", "scorecard", "position"),
    Index("standing_entity", "blueprint", "identifier"),
)
"""Where an entity stands on a scorecard."""
