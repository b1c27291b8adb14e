"""An ask: what somebody wants done to a resource, before it is held against the offering.

The same reading serves the HTTP door and triggers, so neither accepts what the other refuses.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from entresol_intake.domain.faults import prefixed
from entresol_intake.domain.shapes import Fields, is_version

CREATE: Final = "create"
UPDATE: Final = "update"
DELETE: Final = "delete"
EXTEND: Final = "extend"
APPLY: Final = "apply"
"""Create it, or update it if it exists: decided when the ask is accepted."""
ADOPT: Final = "adopt"
"""Own what is there already, as if it had been created."""
RECONCILE: Final = "reconcile"
"""Do the steps of the present inputs again, to put right what drifted."""
ROLLBACK: Final = "rollback"
"""Go back to an earlier state, whose version, revision and inputs the ask names."""
PAUSE: Final = "pause"
UNPAUSE: Final = "unpause"
BUILT_IN: Final = (CREATE, UPDATE, DELETE, EXTEND, APPLY, ADOPT, RECONCILE, ROLLBACK, PAUSE, UNPAUSE)
BEGINNINGS: Final = (CREATE, ADOPT)
"""What something new comes from."""

FIELDS: Final = (
    "offering",
    "version",
    "class",
    "action",
    "project",
    "environment",
    "name",
    "inputs",
    "lifetime",
    "snapshot",
    "orphan",
    "reason",
    "dry_run",
    "break_glass",
)
WITHOUT_ANYBODY: Final = tuple(name for name in FIELDS if name != "break_glass")
"""What a trigger may fill in."""
MAX_REASON: Final = 2000
MAX_KEY: Final = 255
MAX_REQUEST_ID: Final = 128
MAX_REVISION: Final = 2**53


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An earlier state of a resource."""

    revision: int
    request_id: str | None = None
    """The request that had made it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Well-formed, but not yet known to be possible."""

    offering: str
    version: str | None
    action: str
    project: str
    environment: str
    name: str
    inputs: dict[str, Any]
    lifetime: str | None
    reason: str | None
    dry_run: bool
    break_glass: str | None = None
    """Why nothing may stand in its way. People say so, never triggers: somebody has to answer for it."""
    class_: str | None = None
    """Kind of the thing within its offering; it helps to choose the implementation."""
    snapshot: Snapshot | None = None
    orphan: bool = False
    """What can't be removed is left in the world and listed."""

    @property
    def resource_id(self) -> str:
        return f"{self.project}/{self.environment}/{self.offering}/{self.name}"


def read_ask(document: object, known: Collection[str] = FIELDS) -> Ask:
    """Read an ask from JSON that has only the fields in `known`; raise Invalid with all that is wrong."""
    fields = Fields(document, known)
    ask = Ask(
        offering=fields.slug("offering"),
        version=fields.text("version", most=40),
        class_=fields.slug("class") if fields.values.get("class") is not None else None,
        action=fields.slug("action", CREATE),
        project=fields.slug("project"),
        environment=fields.slug("environment"),
        name=fields.slug("name"),
        inputs=fields.record("inputs"),
        lifetime=fields.text("lifetime", most=40),
        snapshot=_snapshot(fields),
        orphan=fields.flag("orphan"),
        reason=fields.text("reason", most=MAX_REASON),
        dry_run=fields.flag("dry_run"),
        break_glass=fields.text("break_glass", most=MAX_REASON),
    )
    if ask.version is not None and not is_version(ask.version):
        fields.refuse("version", "must be a semantic version such as 1.2.0")
    if ask.dry_run and ask.break_glass is not None:
        fields.refuse("break_glass", "has nothing to go past in a dry run, which changes nothing: leave one out")
    fields.done()
    return ask


def _snapshot(document: Fields) -> Snapshot | None:
    if document.values.get("snapshot") is None:
        return None
    fields = Fields(document.record("snapshot"), ("revision", "request_id"))
    revision = fields.values.get("revision")
    if not isinstance(revision, int) or isinstance(revision, bool) or not 0 < revision <= MAX_REVISION:
        fields.refuse("revision", "must be the number of a revision, 1 or more")
        revision = 1
    request_id = fields.text("request_id", most=MAX_REQUEST_ID)
    if request_id is not None and not request_id.isprintable():
        fields.refuse("request_id", "must be the id of a request")
    document.faults += prefixed("/snapshot", fields.faults)
    return Snapshot(revision, request_id)


def semantic(version: str) -> tuple[int, ...]:
    """The order of versions: 1.10.0 comes after 1.9.0."""
    return tuple(map(int, version.split(".")))


def highest(versions: Iterable[str]) -> str | None:
    return max(versions, key=semantic, default=None)
