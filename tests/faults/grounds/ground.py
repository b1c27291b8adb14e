"""What every ground tells: its offering, what has happened in it, what stands in it, and what should."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

STEPS = ("first", "second", "third")
SIZES = {"create": "small", "update": "large"}
Effects = Counter[str]
"""Lines such as `apply thing-1/second large`, and how often it happened."""


@dataclass
class Ground:
    """One driver's part of the world; it is there while it is entered."""

    scratch: Path
    driver: ClassVar[str]
    actions: ClassVar[Sequence[str]] = ("create", "update", "delete")
    end: ClassVar[str] = "RunSucceeded"
    settings: dict[str, str] = field(default_factory=dict, init=False)
    """Of provisioning, without their prefix."""
    environment: dict[str, str] = field(default_factory=dict, init=False)
    documents: list[dict[str, Any]] = field(default_factory=list, init=False)
    """Manifests besides the offering."""
    _open: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    def __post_init__(self) -> None:
        """Say what provisioning has to be told of it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def with_(self, step: str) -> dict[str, Any]:
        """What the offering says for the step."""
        raise NotImplementedError

    def offerings(self) -> list[dict[str, Any]]:
        """One, whose steps each need the one before it."""
        before = (None, *STEPS)
        steps = [
            {"name": name, "driver": self.driver, "needs": [need] if need else [], "with": self.with_(name)}
            for name, need in zip(STEPS, before, strict=False)
        ]
        return [offering("thing", steps)]

    def effects(self) -> Effects:
        """Everything that has ever happened here, and how often."""
        raise NotImplementedError

    def wanted(self, action: str, name: str, run_id: str) -> Iterator[str]:
        """The effects of a run that has succeeded."""
        for step in STEPS:
            if action == "delete":
                yield f"destroy {name}/{step}"
            else:
                yield f"apply {name}/{step} {SIZES[action]}"

    def standing(self, name: str) -> dict[str, str]:
        """Which steps' things are there, and how large they are."""
        raise NotImplementedError

    def stands(self, action: str) -> dict[str, str]:
        """The same, as it has to be after the action."""
        return {} if action == "delete" else dict.fromkeys(STEPS, SIZES[action])

    def left(self) -> Iterator[str]:
        """Locks of this ground that are left when nobody works any more."""
        yield from ()


def offering(name: str, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    spec = {"inputs": {"type": "object"}, "actions": {"create": {"steps": list(steps)}}}
    metadata = {"name": name, "version": "1.0.0"}
    return {"apiVersion": "entresol.dev/v1", "kind": "Offering", "metadata": metadata, "spec": spec}


def destination(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "entresol.dev/v1",
        "kind": "Destination",
        "metadata": {"name": "here"},
        "spec": dict(spec),
    }


def lines(ledger: Path) -> Effects:
    return Counter(ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else ())
