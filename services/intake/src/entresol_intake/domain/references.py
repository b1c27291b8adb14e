"""What manifests refer to: everything named must be in the same batch or applied before.

Names that hold a `${…}` are known only when an event comes, and are not looked at here.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from entresol_intake.domain.asks import BUILT_IN
from entresol_intake.domain.circles import Offered
from entresol_intake.domain.faults import Fault, pointer

OF_BLUEPRINTS: Final = ("Entity", "Scorecard")
"""Kinds whose `spec.blueprint` names one."""


@dataclass(frozen=True, slots=True)
class Known:
    """What will be in force once the batch is applied."""

    offered: Offered
    channels: Collection[str]
    blueprints: Collection[str]


def dangling(documents: Sequence[Mapping[str, Any]], known: Known, possible: Collection[str]) -> Iterator[Fault]:
    """What the documents name that does not exist; `possible` are the event types that triggers can wait for."""
    for index, document in enumerate(documents):
        spec = document["spec"]
        if document["kind"] == "Trigger":
            yield from _trigger(index, spec, known, possible)
        elif document["kind"] == "Offering":
            for number, required in enumerate(spec.get("requires", [])):
                yield from _requirement((index, "spec", "requires", number), required, known)
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
    versions = known.offered(offering)
    if not versions:
        yield Fault(pointer(*at, "offering"), f"there is no offering {offering}")
        return
    if version is not None and "${" not in version:
        if version not in versions:
            yield Fault(pointer(*at, "version"), f"offering {offering} has no version {version}")
            return
        versions = {version: versions[version]}
    if (
        "${" not in action
        and action not in BUILT_IN
        and not any(action in each["actions"] for each in versions.values())
    ):
        yield Fault(pointer(*at, "action"), f"offering {offering} has no action {action}")


def _requirement(at: tuple[str | int, ...], required: Mapping[str, Any], known: Known) -> Iterator[Fault]:
    """What is wrong with what an offering requires; its inputs are looked at if it names a version."""
    offering, version = required["offering"], required.get("version")
    versions = known.offered(offering)
    if not versions:
        yield Fault(pointer(*at, "offering"), f"there is no offering {offering}")
        return
    if version is None:
        return
    if version not in versions:
        yield Fault(pointer(*at, "version"), f"offering {offering} has no version {version}")
        return
    spec = versions[version]
    schema = spec["actions"]["create"].get("inputs", spec.get("inputs", {}))
    properties, given = schema.get("properties", {}), required.get("inputs", {})
    if schema.get("additionalProperties") is False and "patternProperties" not in schema:
        for name in given:
            if name not in properties:
                detail = f"{offering} {version} has no such input; there are {', '.join(properties) or 'none'}"
                yield Fault(pointer(*at, "inputs", name), detail)
    for name in schema.get("required", []):
        if name not in given and "default" not in _map(properties.get(name)):
            yield Fault(pointer(*at, "inputs", name), f"is missing: {offering} {version} requires it")


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def referrers(kind: str, name: str, documents: Collection[Mapping[str, Any]], version: str | None = None) -> list[str]:
    """The manifests that would dangle if this one went, as `Kind name`.

    `version` is that of an offering which has others: then only what names that version would.
    """
    found = set()
    for document in documents:
        if any(_names(each, kind, name, version) for each in _references(document)):
            metadata = document["metadata"]
            if document["kind"] != kind or metadata["name"] != name:
                found.add(" ".join(filter(None, (document["kind"], metadata["name"], metadata.get("version")))))
    return sorted(found)


def _references(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """The kind, name and version of what a manifest can't do without."""
    spec = document["spec"]
    if document["kind"] == "Trigger":
        yield "Offering", spec["request"]["offering"], spec["request"].get("version")
    elif document["kind"] == "Route":
        yield "Channel", spec["channel"], None
    elif document["kind"] == "Scorecard":
        yield "Blueprint", spec["blueprint"], None
    elif document["kind"] == "Offering":
        for required in spec.get("requires", []):
            yield "Offering", required["offering"], required.get("version")


def _names(reference: tuple[str, str, str | None], kind: str, name: str, version: str | None) -> bool:
    return reference[:2] == (kind, name) and version in (None, reference[2])
