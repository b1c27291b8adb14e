"""Judging a batch of manifests before it is applied: each by itself, and all of them beside what is in force.

An offering's version never changes: other content under the same number is a conflict, also after it was removed.
So is a new version that breaks who uses an earlier one of its major version.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from entresol_eventing.envelope import MAX_DATA_BYTES
from entresol_eventing.store import one_of
from entresol_manifests.checking import check
from entresol_manifests.digest import canonical, digest
from entresol_manifests.offerings.breaking import narrowings
from entresol_manifests.offerings.contracts import Contract, Contracts, check_contracts
from sqlalchemy import select
from sqlmodel import Session

from entresol_intake.domain.asks import highest, semantic
from entresol_intake.domain.circles import circle, told
from entresol_intake.domain.faults import Fault, Invalid, pointer, prefixed
from entresol_intake.domain.references import OF_BLUEPRINTS, Known, dangling
from entresol_intake.domain.shapes import is_version
from entresol_intake.offerings import Offering
from entresol_intake.staging import defaults, offered
from entresol_intake.store import documents_of, drivers_of, manifests
from entresol_intake.triggers import POSSIBLE_TYPES

MAX_MANIFESTS: Final = 2000
SPARE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a batch or a removal is not done. A value, not an exception: expected, and nothing has to be rolled back."""

    faults: tuple[Fault, ...]
    conflict: str = ""
    """What it contradicts of what is in force; empty if it is wrong by itself."""


@dataclass(frozen=True, slots=True)
class Item:
    """One manifest of a batch."""

    kind: str
    name: str
    version: str
    """An offering's version; an entity's blueprint; else empty."""
    digest: str
    document: Mapping[str, Any]
    misfits: tuple[Fault, ...] = ()
    """What its steps ask of drivers that these don't take; of no concern if it is in force already."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.name, self.version


@dataclass(frozen=True, slots=True)
class Result:
    item: Item
    result: str
    known: bool
    """Whether there is a row of it already."""

    def as_json(self) -> dict[str, Any]:
        version = self.item.version if self.item.kind == "Offering" else None
        return {"kind": self.item.kind, "name": self.item.name, "version": version, "result": self.result}


def contracts(session: Session) -> Contracts:
    """What drivers have announced."""
    return {name: Contract(settings, outputs) for name, settings, outputs in drivers_of(session)}


def read_batch(documents: object, drivers: Contracts) -> list[Item]:
    """Check every manifest by itself; raise Invalid with all that is wrong. Slow: not for the event loop."""
    if not isinstance(documents, list) or not 0 < len(documents) <= MAX_MANIFESTS:
        raise Invalid([Fault("", f"must be an array of 1 to {MAX_MANIFESTS} manifests")])
    faults: list[Fault] = []
    items: list[Item] = []
    first: dict[tuple[str, str, str], int] = {}
    for index, document in enumerate(documents):
        wrong = list(_check(document))
        if not wrong:
            item = _item(document, drivers)
            if item.key in first:
                wrong = [Fault("/metadata/name", f"is in this batch twice, see /{first[item.key]}")]
            first.setdefault(item.key, index)
            items.append(item)
        faults += prefixed(pointer(index), wrong)
    if faults:
        raise Invalid(faults)
    return items


def _check(document: object) -> Iterator[Fault]:
    if not isinstance(document, dict):
        yield Fault("", "must be a manifest, a JSON object")
        return
    findings = [Fault(finding.pointer, finding.message) for finding in check(document)]
    if not findings:
        findings = list(_size(document))
    if not findings and document["kind"] == "Offering":
        if not is_version(document["metadata"]["version"]):
            findings.append(Fault("/metadata/version", "each of its numbers has at most nine digits"))
        findings += Offering(document).compile()
    yield from findings


def _size(document: Mapping[str, Any]) -> Iterator[Fault]:
    try:
        if len(canonical(document)) > MAX_DATA_BYTES - SPARE_BYTES:
            yield Fault("", f"exceeds {MAX_DATA_BYTES // 1024} KiB")
    except ValueError:
        yield Fault("", "holds a number that JSON can't write")


def _item(document: Mapping[str, Any], drivers: Contracts) -> Item:
    kind, metadata = document["kind"], document["metadata"]
    version = {"Offering": metadata.get("version"), "Entity": document["spec"].get("blueprint")}.get(kind) or ""
    misfits: tuple[Fault, ...] = ()
    if kind == "Offering":
        misfits = tuple(Fault(each.pointer, each.message) for each in check_contracts(document["spec"], drivers))
    return Item(kind, metadata["name"], version, digest(document), document, misfits)


def assess(items: Sequence[Item], session: Session, *, proposed: bool = False) -> list[Result] | Refusal:
    """What applying would do to each; or why the batch can't be applied."""
    stored = _stored([item.key for item in items], session)
    results, changed = [], []
    for index, item in enumerate(items):
        digest_before, removed = stored.get(item.key, (None, False))
        same = digest_before == item.digest
        if item.kind == "Offering" and digest_before is not None and not same:
            detail = f"{item.name} {item.version} was published with other content; raise metadata.version"
            changed.append(Fault(pointer(index, "metadata", "version"), detail))
        is_known = digest_before is not None
        result = "created" if removed or not is_known else "unchanged" if same else "changed"
        results.append(Result(item, result, is_known))
    if changed:
        return Refusal(tuple(changed), "a version that is published does not change")
    misfits = [
        fault
        for index, each in enumerate(results)
        if each.result != "unchanged"
        for fault in prefixed(pointer(index), each.item.misfits)
    ]
    if misfits:
        return Refusal(tuple(misfits))
    new = {index: item for index, item in enumerate(items) if item.kind == "Offering" and item.key not in stored}
    if broken := tuple(_broken(new, items, session)):
        return Refusal(broken, "what a version takes, offers and gives, the later ones of its major version do too")
    known = _known(items, session)
    if missing := tuple(dangling([item.document for item in items], known, POSSIBLE_TYPES)):
        return Refusal(missing)
    round_about = tuple(_circles(results, known, session, proposed=proposed))
    return Refusal(round_about) if round_about else results


def _stored(keys: Sequence[tuple[str, str, str]], session: Session) -> dict[tuple[str, str, str], tuple[str, bool]]:
    columns = (manifests.c.kind, manifests.c.name, manifests.c.version)
    found: dict[tuple[str, str, str], tuple[str, bool]] = {}
    for start in range(0, len(keys), 200):
        query = select(*columns, manifests.c.digest, manifests.c.removed).where(
            one_of(columns, keys[start : start + 200])
        )
        for row in session.connection().execute(query):
            found[row[0], row[1], row[2]] = (row[3], row[4])
    return found


def _broken(new: Mapping[int, Item], items: Sequence[Item], session: Session) -> Iterator[Fault]:
    """What new versions of offerings do no more that the one below them, within their major version, does."""
    specs = offered(session, (each.document for each in items if each.kind == "Offering"))
    for index, item in new.items():
        major, number = semantic(item.version)[0], semantic(item.version)
        versions = specs(item.name)
        earlier = highest(each for each in versions if semantic(each)[0] == major and semantic(each) < number)
        if earlier is None:
            continue
        for found in narrowings(versions[earlier], item.document["spec"]):
            detail = f"{found.message}, which breaks who uses {earlier}: publish it as {major + 1}.0.0"
            yield Fault(pointer(index) + found.pointer, detail)


def _known(items: Sequence[Item], session: Session) -> Known:
    kinds = {item.kind for item in items}
    channels: set[str] = set()
    blueprints: set[str] = set()
    for kind, needed_by, names in (("Channel", ("Route",), channels), ("Blueprint", OF_BLUEPRINTS, blueprints)):
        if kinds & set(needed_by):
            names |= {item.name for item in items if item.kind == kind}
            names |= {document["metadata"]["name"] for document, _ in documents_of(kind, session)}
    offerings = offered(session, (item.document for item in items if item.kind == "Offering"))
    return Known(offerings, channels, blueprints)


def _circles(results: Sequence[Result], known: Known, session: Session, *, proposed: bool) -> Iterator[Fault]:
    """Versions in the batch that would require themselves; each circle is told once."""
    changed = [(index, each.item) for index, each in enumerate(results) if each.result != "unchanged"]
    versions = {(item.name, item.version): index for index, item in changed if item.kind == "Offering"}
    default = defaults(session, list(versions), proposed=proposed)
    found: set[tuple[str, str]] = set()
    for one, index in versions.items():
        requires = results[index].item.document["spec"].get("requires")
        if requires and one not in found and (way := circle(one, known.offered, default)):
            found.update(way)
            yield Fault(pointer(index, "spec", "requires"), f"what is required goes round in a circle: {told(way)}")
