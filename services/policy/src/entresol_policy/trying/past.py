"""What policy knew at a time in the past, folded from the log: the catalog, waivers in force, what resources had.

Events come as the catalog's door hands them out, in the order of the log, from its beginning.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from entresol_contracts.events import RequestSubmitted, RunPlanned
from entresol_manifests.inputs import resulting

from entresol_policy.domain.judging import Waiver
from entresol_policy.domain.scopes import Scope

Document = Mapping[str, Any]

WAIVERS: Final = ("waiver.granted", "waiver.revoked", "waiver.expired")
CATALOG: Final = ("entity.changed", "entity.removed", "scorecard.changed")
INPUTS: Final = ("manifest.applied", "resource.provisioned", "resource.changed", "resource.deleted")
BACKGROUND: Final = frozenset({*WAIVERS, *CATALOG, *INPUTS})


class Past:
    """Holds as much as the catalog, the waivers in force and the inputs of resources take, however long the log is."""

    def __init__(self) -> None:
        self._entities: dict[tuple[str, str], tuple[int, Document]] = {}
        self._scores: dict[tuple[str, str], dict[str, Document]] = {}
        self._waivers: dict[str, tuple[Waiver, Scope, datetime]] = {}
        self._inputs: dict[str, Document] = {}
        self._offerings: dict[tuple[str, str | None], Document] = {}

    def hear(self, fact: str, data: Document) -> None:
        """Take in one event of BACKGROUND."""
        match fact:
            case "entity.changed":
                key, revision = _key(data), data["revision"]
                if key not in self._entities or self._entities[key][0] < revision:
                    self._entities[key] = (revision, data["entity"])
            case "entity.removed":
                key = _key(data)
                if key in self._entities and self._entities[key][0] <= data["revision"]:
                    del self._entities[key]
            case "scorecard.changed":
                scores = self._scores.setdefault(_key(data), {})
                scores.pop(data["scorecard"], None)
                if data["rules"]:
                    scores[data["scorecard"]] = {key: data.get(key) for key in ("level", "rank", "rules")}
            case "waiver.granted":
                waiver = Waiver(data["waiver_id"], data["waives"], data.get("rule"))
                self._waivers[waiver.id] = (waiver, Scope(**data["scope"]), datetime.fromisoformat(data["until"]))
            case "waiver.revoked" | "waiver.expired":
                self._waivers.pop(data["waiver_id"], None)
            case "manifest.applied" if data["kind"] == "Offering":
                self._offerings[data["name"], data.get("version")] = data["manifest"]["spec"]
            case "resource.provisioned" | "resource.changed":
                self._inputs[data["resource_id"]] = data["inputs"]
            case "resource.deleted":
                self._inputs.pop(data["resource_id"], None)

    def find(self, blueprint: str, identifier: str) -> Document | None:
        """The entity as rules see it; None if the catalog had none."""
        found = self._entities.get((blueprint, identifier))
        return None if found is None else {**found[1], "scorecards": self._scores.get((blueprint, identifier), {})}

    def waivers(self, request: RequestSubmitted, at: datetime) -> list[Waiver]:
        """Those that were in force for the request."""
        return [waiver for waiver, scope, until in self._waivers.values() if until > at and scope.fits(request)]

    def inputs(self, request: RequestSubmitted, plan: RunPlanned | None) -> Document:
        """By which the request was judged."""
        if plan is not None and plan.inputs is not None:
            return plan.inputs
        spec = self._offerings.get((request.offering, request.offering_version))
        return resulting(request.action, request.inputs, self._inputs.get(request.resource_id), spec)


def _key(data: Document) -> tuple[str, str]:
    return (data["blueprint"], data["identifier"])
