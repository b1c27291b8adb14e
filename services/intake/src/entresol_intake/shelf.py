"""The manifests that doors and handlers ask for again and again, kept compiled in memory.

`clear()` drops all of it: after a manifest was applied, removed or staged, and after every rollback. What was read
before a `clear` is never kept after it, so a slow reader can't put back what has changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlmodel import Session

from entresol_intake.offerings import Offering
from entresol_intake.store import documents_of, stages_of
from entresol_intake.triggers import Trigger

T = TypeVar("T")


@dataclass(slots=True)
class Shelf:
    _generation: int = 0
    _kept: dict[tuple[str, str], Any] = field(default_factory=dict)

    def clear(self) -> None:
        self._generation += 1
        self._kept = {}

    def look(self, what: str, name: str) -> Any:
        """What is kept, or None; never touches the database."""
        return self._kept.get((what, name))

    def _get(self, what: str, name: str, load: Callable[[], T]) -> T:
        kept = self._kept
        if (what, name) in kept:
            found: T = kept[what, name]
            return found
        generation = self._generation
        loaded = load()
        if loaded and generation == self._generation:
            kept[what, name] = loaded
        return loaded

    def offering(self, name: str, session: Session) -> Mapping[str, Offering]:
        """Every version of an offering, removed ones too; empty if there is none."""

        def load() -> Mapping[str, Offering]:
            stages = stages_of(name, session)
            found = (
                Offering(document, removed, stages.get(document["metadata"]["version"]))
                for document, removed in documents_of("Offering", session, name, removed=True)
            )
            return {each.version: each for each in found}

        return self._get("Offering", name, load)

    def source(self, name: str, session: Session) -> Mapping[str, Any]:
        """The `spec` of a source; empty if there is none."""

        def load() -> Mapping[str, Any]:
            return next((document["spec"] for document, _ in documents_of("Source", session, name)), {})

        return self._get("Source", name, load)

    def triggers(self, session: Session) -> Mapping[str, list[Trigger]]:
        """The triggers by the event type that each waits for."""

        def load() -> Mapping[str, list[Trigger]]:
            by_type: dict[str, list[Trigger]] = {"": []}
            for document, _ in documents_of("Trigger", session):
                by_type.setdefault(document["spec"]["on"], []).append(Trigger.of(document))
            return by_type

        return self._get("Trigger", "", load)
