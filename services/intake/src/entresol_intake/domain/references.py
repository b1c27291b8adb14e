"""What manifests refer to: everything named must be in the same batch or applied before.

Names that hold a `${…}` are known only when an event comes, and are not looked at here.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from entresol_intake.domain.asks import BUILT_IN
from entresol_intake.domain.faults import Fault, pointer

OF_BLUEPRINTS: Final = ("Entity", "Scorecard")
"""Kinds whose `spec.blueprint` names one."""


@dataclass(frozen=True, slots=True)
class Known:
    """What will be in force once the batch is applied."""

    offerings: Mapping[str, Mapping[str, Collection[str]]]
    """Name → version → its actions."""
    channels: Collection[str]
    blueprints: Collection[str]


def dangling(documents: Sequence[Mapping[str, Any]], known: Known, possible: Collection[str]) -> Iterator[Fault]:
    """What the documents name that does not exist; `possible` are the event types that triggers can wait for."""
    for index, document in enumerate(documents):
        spec = document["spec"]
        if document["kind"] == "Trigger":
            yield from _trigger(index, spec, known, possible)
        elif document["kind"] == "Route" and spec["channel"] not in known.channels:
            yield Fault(pointer(index, "spec", "channel"), f"there is no channel {spec['channel']}")
        elif document["kind"] in OF_BLUEPRINTS and spec["blueprint"] not in known.blueprints:
            yield Fault(pointer(index, "spec", "blueprint"), f"there is no blueprint {spec['blueprint']}")


def _trigger(index: int, spec: Mapping[str, Any], known: Known, possible: Collection[str]) -> Iterator[Fault]:
    if spec["on"] not in possible:
        yield Fault(
            pointer(index, "spec", "on"), f"no trigger can wait for this type; possible are {', '.join(possible)}"
        )
    template = spec["request"]
    offering, version, action = template["offering"], template.get("version"), template["action"]
    if "${" in offering:
        return
    at = (index, "spec", "request")
    versions = known.offerings.get(offering, {})
    if not versions:
        yield Fault(pointer(*at, "offering"), f"there is no offering {offering}")
        return
    if version is not None and "${" not in version:
        if version not in versions:
            yield Fault(pointer(*at, "version"), f"offering {offering} has no version {version}")
            return
        versions = {version: versions[version]}
    if "${" not in action and action not in BUILT_IN and not any(action in actions for actions in versions.values()):
        yield Fault(pointer(*at, "action"), f"offering {offering} has no action {action}")


def referrers(kind: str, name: str, documents: Collection[Mapping[str, Any]]) -> list[str]:
    """The manifests that would dangle if this one went, as `Kind name`."""
    places = {
        "Offering": ("Trigger", ("request", "offering")),
        "Channel": ("Route", ("channel",)),
        "Blueprint": ("Scorecard", ("blueprint",)),
    }
    if kind not in places:
        return []
    referring, path = places[kind]
    found = []
    for document in documents:
        if document["kind"] != referring:
            continue
        value: Any = document["spec"]
        for part in path:
            value = value[part]
        if value == name:
            found.append(f"{referring} {document['metadata']['name']}")
    return sorted(found)
