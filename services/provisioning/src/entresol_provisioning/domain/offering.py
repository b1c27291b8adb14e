"""An offering as provisioning reads it: which steps an action has, and what comes out of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from entresol_provisioning.domain.lifetime import Lifetime


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
    actions: Mapping[str, tuple[Step, ...] | None]
    """Steps by action; None for an action that is listed without steps."""
    lifetime: Lifetime = field(default_factory=Lifetime)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    entity: Entity | None = None
    cost: str | None = None
    """Expression for what a resource costs per month."""

    def steps(self, action: str) -> Sequence[Step] | None:
        """The steps of an action; None where the offering does not say (an update is then a repeated create)."""
        if action == "update" and self.actions.get("update") is None:
            return self.actions.get("create") or ()
        return self.actions.get(action)
