"""Applying manifests, all of a batch or none, and taking them out of force. What did not change says nothing."""

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any

from entresol_contracts.events import EntityDeclared, EntityWithdrawn, ManifestApplied, ManifestRemoved
from entresol_eventing.reactions import Emit
from sqlalchemy import delete, select, update
from sqlmodel import Session

from entresol_intake.assessing import Item, Refusal, Result, assess
from entresol_intake.domain.circles import told
from entresol_intake.domain.references import referrers
from entresol_intake.staging import circle_of_default, follower, stage_applied, unstage_removed
from entresol_intake.store import add, documents_of, manifests


def apply(
    items: Sequence[Item], at: datetime, by: str, session: Session, *, proposed: bool = False
) -> Generator[Emit, None, list[Result] | Refusal]:
    """Record the batch; return the results, or why nothing was recorded.

    A new version of an offering becomes its default if it is the highest, unless it is only `proposed`.
    """
    results = assess(items, session, proposed=proposed)
    if not isinstance(results, list):
        return results
    for each in results:
        if each.result == "unchanged":
            continue
        item = each.item
        row = {"digest": item.digest, "document": dict(item.document), "removed": False, "changed_at": at}
        if each.known:
            session.connection().execute(update(manifests).where(_is(item.key)).values(**row))
        else:
            add(session, manifests, {"kind": item.kind, "name": item.name, "version": item.version, **row})
        yield _declared(item) if item.kind == "Entity" else _applied(item)
        if item.kind == "Offering":
            yield from stage_applied(item.name, item.version, by, session, proposed=proposed)
    return results


def _is(key: tuple[str, str, str]) -> Any:
    return (manifests.c.kind == key[0]) & (manifests.c.name == key[1]) & (manifests.c.version == key[2])


def _applied(item: Item) -> Emit:
    version = item.version or None
    return Emit(
        ManifestApplied(
            kind=item.kind, name=item.name, version=version, digest=item.digest, manifest=dict(item.document)
        ),
        subject=f"{item.kind}/{item.name}",
    )


def _declared(item: Item) -> Emit:
    metadata, spec = item.document["metadata"], item.document["spec"]
    return Emit(
        EntityDeclared(
            blueprint=item.version,
            identifier=item.name,
            title=metadata.get("title"),
            icon=spec.get("icon"),
            team=spec.get("team", metadata.get("owner")),
            properties=spec.get("properties", {}),
            relations=spec.get("relations", {}),
        ),
        subject=f"{item.version}/{item.name}",
    )


def remove(
    kind: str, name: str, version: str | None, at: datetime, by: str, session: Session
) -> Generator[Emit, None, Refusal | bool]:
    """Take a manifest out of force. Return False if there is none, a Refusal if others need it.

    An offering needs its version, and an entity its blueprint, only where there are several.
    """
    query = select(manifests.c.version).where(
        manifests.c.kind == kind, manifests.c.name == name, manifests.c.removed.is_(False)
    )
    versions = sorted(session.connection().execute(query).scalars())
    chosen = [each for each in versions if version in (None, each)]
    if not chosen:
        return False
    if len(chosen) > 1:
        return Refusal((), f"there are several, say which with ?version=: {', '.join(chosen)}")
    needed_by = [
        document
        for referring in ("Trigger", "Route", "Scorecard", "Offering")
        for document, _ in documents_of(referring, session)
    ]
    gone = chosen[0] if kind == "Offering" and len(versions) > 1 else None
    if others := referrers(kind, name, needed_by, gone):
        return Refusal((), f"still needed by {', '.join(others)}; remove that first")
    following = follower(name, chosen[0], session) if kind == "Offering" else None
    if following is not None and (way := circle_of_default(name, following, session)):
        told_so = f"{following} would be the default then, and require itself in a circle: {told(way)}"
        return Refusal((), f"{told_so}; promote another version first")
    key = (kind, name, chosen[0])
    if kind == "Offering":
        session.connection().execute(update(manifests).where(_is(key)).values(removed=True, changed_at=at))
    else:
        session.connection().execute(delete(manifests).where(_is(key)))
    if kind == "Entity":
        yield Emit(EntityWithdrawn(blueprint=chosen[0], identifier=name), subject=f"{chosen[0]}/{name}")
    else:
        yield Emit(ManifestRemoved(kind=kind, name=name, version=chosen[0] or None), subject=f"{kind}/{name}")
        if kind == "Offering":
            yield from unstage_removed(name, chosen[0], following, by, session)
    return True
