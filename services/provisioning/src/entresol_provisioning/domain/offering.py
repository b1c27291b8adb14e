"""An offering as provisioning reads it: which steps an action has, and what comes out of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from entresol_provisioning.domain.lifetime import Lifetime

RESOURCE: Final = "resource"
"""The driver of a step that stands for another resource; see `requirements`."""
REQUIRES: Final = "requires/"
"""What the names of such steps begin with. Those of other steps hold no slash."""
HOW_TO_BE: Final = frozenset({"create", "adopt", "update", "reconcile", "rollback"})
"""Actions that bring the resource to inputs, and so need everything that it requires."""
LONGEST_WAIT_SECONDS: Final = 60 * 86400.0
"""For another resource, whose own request has a deadline wherever it waits."""


@dataclass(frozen=True, slots=True)
class Compensation:
    """How to undo a step where that is not simply to take down or to put back what it made. Not interpolated yet."""

    driver: str
    with_: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an action. `with_` is not interpolated yet."""

    name: str
    driver: str
    with_: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    when: str | None = None
    timeout_seconds: float | None = None
    retries: int | None = None
    backoff_seconds: float | None = None
    outputs: Mapping[str, Any] | None = None
    """JSON Schema of each output; None: whatever it gives."""
    compensate: Compensation | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What is done for a request; without steps where the manifest lists none."""

    steps: tuple[Step, ...] | None = None
    compensates: bool = False
    """Whether finished steps are undone when a later one fails."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A resource of another offering that has to be there first; texts are not interpolated yet."""

    name: str
    offering: str
    version: str | None = None
    class_: str | None = None
    id: str | None = None
    """Name of a shared one; None: one of its own."""
    project: str | None = None
    environment: str | None = None
    when: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def as_step(self) -> Step:
        said = {
            "offering": self.offering,
            "version": self.version,
            "class": self.class_,
            "id": self.id,
            "project": self.project,
            "environment": self.environment,
        }
        with_ = {"requirement": self.name, "inputs": dict(self.inputs)}
        with_ |= {key: value for key, value in said.items() if value is not None}
        return Step(REQUIRES + self.name, RESOURCE, with_, when=self.when, timeout_seconds=LONGEST_WAIT_SECONDS)


@dataclass(frozen=True, slots=True)
class Hint:
    """An event after which a resource may have drifted."""

    on: str
    when: str | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """How it is found out that somebody changed things by other ways, and what follows."""

    every_seconds: float | None = None
    mode: str = "report"
    tolerate: tuple[str, ...] = ()
    hints: tuple[Hint, ...] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """What a resource contributes to the catalog; texts are not interpolated yet."""

    blueprint: str
    identifier: str | None = None
    title: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    relations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offering:
    """One version of a contract, told apart from others by its digest."""

    digest: str
    name: str
    version: str
    actions: Collection[str]
    """Those that it names."""
    ways: Mapping[str | None, Mapping[str, Action]] = field(default_factory=dict)
    """How every action is done, by implementation; None: by its own steps."""
    requires: tuple[Requirement, ...] = ()
    lifetime: Lifetime = field(default_factory=Lifetime)
    drift: Drift | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    entity: Entity | None = None
    cost: str | None = None
    """Expression for what a resource costs per month."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """As it was published."""

    def action(self, name: str, implementation: str | None) -> Action:
        """What is done for an action; without steps where nothing is said of it.

        What is required comes before the first steps.
        """
        found = self.ways.get(implementation, {}).get(name, Action())
        if not self.requires or name not in HOW_TO_BE:
            return found
        required = tuple(one.as_step() for one in self.requires)
        names = tuple(one.name for one in required)
        steps = (one if one.needs else replace(one, needs=names) for one in found.steps or ())
        return replace(found, steps=(*required, *steps))
