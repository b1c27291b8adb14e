"""What is in force: policies, windows, quotas, locks and waivers."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlmodel import Session

from entresol_policy.store.tables import LockRow, ManifestRow, WaiverRow, table

manifest, lock, waiver = table(ManifestRow), table(LockRow), table(WaiverRow)


def put_manifest(session: Session, kind: str, name: str, digest: str, document: dict[str, Any]) -> None:
    remove_manifest(session, kind, name)
    row = {"kind": kind, "name": name, "digest": digest, "manifest": document}
    session.connection().execute(insert(manifest), row)


def remove_manifest(session: Session, kind: str, name: str) -> None:
    session.connection().execute(delete(manifest).where(manifest.c.kind == kind, manifest.c.name == name))


def manifests(session: Session) -> Sequence[tuple[str, str, str, dict[str, Any]]]:
    """Kind, name, digest and document of each, by name."""
    columns = (manifest.c.kind, manifest.c.name, manifest.c.digest, manifest.c.manifest)
    found = session.connection().execute(select(*columns).order_by(manifest.c.kind, manifest.c.name))
    return [(row[0], row[1], row[2], row[3]) for row in found]


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
