"""What is graded, and by what: services as they are declared, and scorecards as they are applied."""

from typing import Any

from entresol_contracts import events as facts
from entresol_eventing.envelope import Event
from entresol_eventing.testing import event


def scorecard(
    name: str = "maturity", blueprint: str = "Service", digest: str = "sha256:aa", **levels: str
) -> Event[Any]:
    """A scorecard with one rule on each level: bronze wants an owner, silver a tier, unless other levels are given."""
    rules = levels or {"bronze": "entity.team != null", "silver": "entity.properties.tier == 'gold'"}
    spec = {
        "blueprint": blueprint,
        "levels": [
            {"name": level, "rules": [{"name": f"{level}-rule", "holds": holds}]} for level, holds in rules.items()
        ],
    }
    whole = {"apiVersion": "entresol.dev/v1", "kind": "Scorecard", "metadata": {"name": name}, "spec": spec}
    return event(facts.ManifestApplied(kind="Scorecard", name=name, digest=digest, manifest=whole))


def service(identifier: str, team: str | None = None, blueprint: str = "Service", **properties: Any) -> Event[Any]:
    """A service as it is declared."""
    return event(
        facts.EntityDeclared(blueprint=blueprint, identifier=identifier, team=team, properties=properties, relations={})
    )
