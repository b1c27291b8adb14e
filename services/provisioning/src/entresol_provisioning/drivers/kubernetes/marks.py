"""Whose an object is: labels and annotations on it, and what the step has in its books.

An object is a step's if it bears the step's mark, or if the step has adopted that very object, by its uid. Only such
objects are ever removed. The name by which a step manages fields is its own too, so that two steps that want the same
field get into a conflict instead of undoing each other's work.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from entresol_provisioning.drivers import StepFailed, StepWork
from entresol_provisioning.drivers.kubernetes.objects import PREFIX, Identity, Wanted

OWNER = f"{PREFIX}owner"
RESOURCE = f"{PREFIX}resource"
STEP = f"{PREFIX}step"
ATTEMPT = f"{PREFIX}idempotency-key"
PLAN = f"{PREFIX}plan"
PASSING = (ATTEMPT, PLAN)
"""Annotations that say who was last here; they are no part of what is wanted."""

Ownership = Literal["ours", "theirs", "nobody's"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One object in a step's books."""

    identity: Identity
    uid: str
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one step of one resource."""

    work: StepWork

    @property
    def owner(self) -> str:
        return hashlib.sha256(f"{self.work.resource_id}\n{self.work.step}".encode()).hexdigest()[:32]

    @property
    def manager(self) -> str:
        return f"entresol-{self.owner}"

    def put_on(self, wanted: Wanted, *, passing: bool) -> dict[str, Any]:
        metadata = wanted.manifest["metadata"]
        labels = {**(metadata.get("labels") or {}), OWNER: self.owner}
        annotations = {
            **(metadata.get("annotations") or {}),
            RESOURCE: self.work.resource_id,
            STEP: self.work.step,
            **({ATTEMPT: self.work.idempotency_key} if passing else {}),
            **({PLAN: self.work.approved} if passing and self.work.approved else {}),
        }
        return {**wanted.manifest, "metadata": {**metadata, "labels": labels, "annotations": annotations}}

    def of(self, live: Mapping[str, Any]) -> Ownership:
        mark = (live["metadata"].get("labels") or {}).get(OWNER)
        if mark is None:
            return "nobody's"
        return "ours" if mark == self.owner else "theirs"

    def begun(self, live: Mapping[str, Any]) -> bool:
        """Whether an earlier attempt at this work, held to the same plan, has got to this object."""
        noted = live["metadata"].get("annotations") or {}
        return (
            self.of(live) == "ours"
            and noted.get(ATTEMPT) == self.work.idempotency_key
            and noted.get(PLAN) == self.work.approved
        )


def owner_of(live: Mapping[str, Any]) -> str:
    """Who it belongs to, for people."""
    noted = live["metadata"].get("annotations") or {}
    return f"step {str(noted.get(STEP, '?'))[:100]} of {str(noted.get(RESOURCE, 'another resource'))[:200]}"


def books(previous: Mapping[str, Any] | None) -> dict[tuple[str, str, str | None, str], Entry]:
    """The objects that a step had when it was last done."""
    listed = (previous or {}).get("objects")
    entries = [_entry(one) for one in listed] if isinstance(listed, list) else []
    return {one.identity.lasting: one for one in entries}


def noted(identity: Identity, uid: str, *, adopted: bool = False) -> dict[str, Any]:
    """The object as outputs tell of it."""
    return {
        "apiVersion": identity.api_version,
        "kind": identity.kind,
        **({"namespace": identity.namespace} if identity.namespace else {}),
        "name": identity.name,
        "uid": uid,
        **({"adopted": True} if adopted else {}),
    }


def _entry(one: Any) -> Entry:
    try:
        identity = Identity(one["apiVersion"], one["kind"], one.get("namespace"), one["name"])
        return Entry(identity, one["uid"], one.get("adopted") is True)
    except (TypeError, KeyError, AttributeError):
        raise StepFailed("what is remembered of the step's objects can't be read") from None
