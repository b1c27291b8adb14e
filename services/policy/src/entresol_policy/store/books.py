"""What is in force: policies, windows, quotas, locks and waivers; and what versions of offerings take."""

from collections.abc import Sequence
from typing import Any

from entresol_eventing.statements import Statement
from entresol_manifests.digest import digest
from sqlalchemy import bindparam, delete, insert, select
from sqlmodel import Session

from entresol_policy.store.tables import LockRow, ManifestRow, WaiverRow, table

manifest, lock, waiver = table(ManifestRow), table(LockRow), table(WaiverRow)

OFFERING = "Offering"
_FIND = Statement(
    select(manifest.c.manifest).where(
        manifest.c.kind == bindparam("key_kind"), manifest.c.name == bindparam("key_name")
    )
)


def put_manifest(session: Session, kind: str, name: str, version: str, document: dict[str, Any]) -> None:
    remove_manifest(session, kind, name)
    row = {"kind": kind, "name": name, "digest": version, "manifest": document}
    session.connection().execute(insert(manifest), row)


def remove_manifest(session: Session, kind: str, name: str) -> None:
    session.connection().execute(delete(manifest).where(manifest.c.kind == kind, manifest.c.name == name))


def rule_digest(session: Session, waives: str, rule: int | None) -> str | None:
    """What the rule of that number says now; None if it is no rule."""
    kind, _, name = waives.partition("/")
    found = _FIND.first(session.connection(), key_kind=kind, key_name=name)
    known = rule_digests(found[0]) if found else []
    return known[rule] if rule is not None and rule < len(known) else None


def rule_digests(document: Any) -> list[str]:
    """What each rule of a policy says; none where it can't be read, which denies whatever is waived."""
    try:
        return [digest(one) for one in document["spec"]["rules"]]
    except (TypeError, KeyError):
        return []


def manifests(session: Session) -> Sequence[tuple[str, str, str, dict[str, Any]]]:
    """Kind, name, digest and document of each policy, window and quota, by name."""
    columns = (manifest.c.kind, manifest.c.name, manifest.c.digest, manifest.c.manifest)
    query = select(*columns).where(manifest.c.kind != OFFERING).order_by(manifest.c.kind, manifest.c.name)
    found = session.connection().execute(query)
    return [(row[0], row[1], row[2], row[3]) for row in found]


def put_offering(session: Session, name: str, version: str, document: dict[str, Any]) -> None:
    """Remember what a version takes. That it is withdrawn changes nothing: its resources stay."""
    own: dict[str, Any] = {"inputs": {}} if "inputs" in document["spec"]["actions"].get("update", {}) else {}
    spec = {"inputs": document["spec"].get("inputs", {}), "actions": {"update": own}}
    put_manifest(session, OFFERING, f"{name} {version}", digest(spec), spec)


def find_offering(session: Session, name: str, version: str) -> dict[str, Any] | None:
    """As much of the version's `spec` as says what comes of inputs; None if nobody has told of it."""
    found = _FIND.first(session.connection(), key_kind=OFFERING, key_name=f"{name} {version}")
    return None if found is None else found[0]


def put_lock(session: Session, row: dict[str, Any]) -> None:
    remove_lock(session, row["id"])
    session.connection().execute(insert(lock), row)


def remove_lock(session: Session, lock_id: str) -> dict[str, Any] | None:
    """Take the lock out of force; return it if it was."""
    return _taken(session, lock, lock_id)


def locks(session: Session) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in session.connection().execute(select(lock).order_by(lock.c.id))]


def put_waiver(session: Session, row: dict[str, Any]) -> None:
    remove_waiver(session, row["id"])
    session.connection().execute(insert(waiver), row)


def remove_waiver(session: Session, waiver_id: str) -> dict[str, Any] | None:
    """Take the waiver out of force; return it if it was."""
    return _taken(session, waiver, waiver_id)


def waivers(session: Session) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in session.connection().execute(select(waiver).order_by(waiver.c.id))]


def _taken(session: Session, from_: Any, key: str) -> dict[str, Any] | None:
    connection = session.connection()
    row = connection.execute(select(from_).where(from_.c.id == key)).first()
    if row is None:
        return None
    connection.execute(delete(from_).where(from_.c.id == key))
    return dict(row._mapping)
