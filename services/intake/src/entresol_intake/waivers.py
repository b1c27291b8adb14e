"""Waivers: a policy, quota or window that does not hold for something, for a while, because it was agreed somewhere."""

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from entresol_contracts.events import Scope as Named
from entresol_contracts.events import WaiverGranted, WaiverRevoked
from entresol_eventing.reactions import Emit
from entresol_manifests.findings import meant
from sqlmodel import Session

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.domain.faults import Fault
from entresol_intake.domain.scopes import WAIVABLE, Scope, read_scope
from entresol_intake.domain.shapes import Fields, is_slug
from entresol_intake.store import add, documents_of, end, waivers
from entresol_intake.terms import FIELDS as TERM
from entresol_intake.terms import read_end

KINDS: Final = ("Policy", "Quota", "Window")
LONGEST_SECONDS: Final = 366 * 86_400
"""A year, also a leap year: what has to hold for longer belongs in the manifest."""
MAX_TICKET: Final = 255


@dataclass(frozen=True, slots=True)
class Waiver:
    waives: str
    rule: int | None
    scope: Scope
    reason: str
    ticket: str
    ends_at: datetime


def read_waiver(document: object, at: datetime) -> Waiver:
    """Read a waiver from JSON; raise Invalid with all that is wrong with it by itself."""
    fields = Fields(document, ("waives", "rule", "scope", "reason", "ticket", *TERM))
    waives = fields.text("waives", most=80, required=True) or ""
    kind, _, name = waives.partition("/")
    if waives and (kind not in KINDS or not is_slug(name)):
        fields.refuse("waives", f"must be one of {', '.join(KINDS)}, a slash, and the name of one")
    rule = _rule(fields, kind)
    scope = read_scope(fields, WAIVABLE)
    reason = fields.text("reason", most=MAX_REASON, required=True) or ""
    ticket = fields.text("ticket", most=MAX_TICKET, required=True) or ""
    if not ticket.isprintable():
        fields.refuse("ticket", "must be one line")
    ends_at = read_end(fields, at, required=True, longest_seconds=LONGEST_SECONDS)
    fields.done()
    assert ends_at is not None
    return Waiver(waives, rule, scope, reason, ticket, ends_at)


def _rule(fields: Fields, kind: str) -> int | None:
    value = fields.values.get("rule")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        fields.refuse("rule", "must be the number of a rule, counted from 0")
        return None
    if kind in KINDS and kind != "Policy":
        fields.refuse("rule", f"a {kind} has no rules")
    return value


def unfounded(waiver: Waiver, session: Session) -> list[Fault]:
    """What it names that is not in force."""
    kind, _, name = waiver.waives.partition("/")
    found = next((document for document, _ in documents_of(kind, session, name)), None)
    if found is None:
        names = [document["metadata"]["name"] for document, _ in documents_of(kind, session)]
        return [Fault("/waives", f"there is no {kind} {name}{meant(name, names)}")]
    return [] if waiver.rule is None else _unfounded_rule(found, waiver.rule)


def _unfounded_rule(policy: Mapping[str, Any], rule: int) -> list[Fault]:
    rules = policy["spec"]["rules"]
    if rule >= len(rules):
        return [Fault("/rule", f"there is no such rule; the last is {len(rules) - 1}")]
    if "breakGlass" in rules[rule]:
        return [Fault("/rule", "says who may break glass, which stands in nobody's way")]
    return []


def grant(
    waiver: Waiver, waiver_id: str, by: str, project: str | None, at: datetime, session: Session
) -> Generator[Emit, None, None]:
    row = {
        "waiver_id": waiver_id,
        "project": project,
        "granted_at": at,
        "ends_at": waiver.ends_at,
        "ended_at": None,
    }
    add(session, waivers, row)
    granted = WaiverGranted(
        waiver_id=waiver_id,
        waives=waiver.waives,
        rule=waiver.rule,
        scope=Named(**asdict(waiver.scope)),
        reason=waiver.reason,
        ticket=waiver.ticket,
        until=waiver.ends_at,
        by=by,
    )
    yield Emit(granted, subject=waiver_id, correlationid=waiver_id)


def revoke(waiver_id: str, by: str, reason: str | None, at: datetime, session: Session) -> Generator[Emit, None, bool]:
    """End a waiver before its time; return False if it has ended already."""
    if not end(waivers, waiver_id, at, session):
        return False
    yield Emit(WaiverRevoked(waiver_id=waiver_id, by=by, reason=reason), subject=waiver_id, correlationid=waiver_id)
    return True
