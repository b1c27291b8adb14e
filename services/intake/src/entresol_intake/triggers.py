"""Triggers: what an outside event makes somebody ask for, without anybody asking."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from entresol_contracts import EVENT_TYPES
from entresol_manifests.expressions import Expression, Scope, compile_expression
from entresol_manifests.guard import Guard
from entresol_manifests.placeholders import interpolate

from entresol_intake.domain.asks import MAX_REASON, WITHOUT_ANYBODY, Ask, read_ask
from entresol_intake.domain.outside import EXTERNAL, OUTSIDE_FACTS

POSSIBLE_TYPES: Final = tuple(
    known.type
    for known in EVENT_TYPES
    if known.fact in (*OUTSIDE_FACTS, EXTERNAL)
    or (known.publisher == "provisioning" and known.fact.startswith("resource."))
)
"""The event types that a trigger can wait for: those that intake itself reads."""


@dataclass(frozen=True, slots=True)
class Trigger:
    name: str
    when: Expression | None
    request: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Trigger":
        when = document["spec"].get("when")
        return cls(
            document["metadata"]["name"], compile_expression(when) if when else None, document["spec"]["request"]
        )

    def ask(self, scope: Scope, actor: str, guard: Guard) -> Ask | None:
        """What it asks for because of the event in the scope; None if its condition does not hold.

        Raise ExpressionError or Invalid if that can't be said. The reason ends with who was behind the event.
        """
        if self.when is not None and not guard.holds(self.when.source, scope):
            return None
        document = interpolate(dict(self.request), scope, evaluate=guard.evaluate)
        reason = f"{document['reason']} (by {actor})" if document.get("reason") else f"by {actor}"
        return read_ask(document | {"reason": reason[:MAX_REASON]}, WITHOUT_ANYBODY)
