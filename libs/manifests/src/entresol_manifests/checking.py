"""Check one manifest: first the JSON Schema of its kind, then what a schema can't say.

The check is the same at the desk, in CI and at intake's door. It looks at one manifest alone: whether a blueprint,
destination or channel that it names exists is known only where all of them are.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_contracts import EVENT_TYPES

from entresol_manifests.destinations import check_destination
from entresol_manifests.findings import Finding, meant
from entresol_manifests.naming import check_expression, check_placeholders, event_fields
from entresol_manifests.offerings import check_offering
from entresol_manifests.offerings.times import OUTSIDE
from entresol_manifests.policies import check_policy, check_quota, check_scorecard, check_window, length
from entresol_manifests.schemas import KINDS, violations

__all__ = ["Finding", "check"]

_TYPES: Final = frozenset(known.type for known in EVENT_TYPES)
_BEGINNINGS: Final = (*OUTSIDE, "resource.")
_TRIGGERING: Final = frozenset(known.type for known in EVENT_TYPES if known.fact.startswith(_BEGINNINGS))
"""What others report, and what happens to resources. Facts about requests would make requests that make requests."""


def check(document: Any) -> list[Finding]:
    """Everything that is wrong with the manifest; empty if it can be applied. Never raises."""
    if not isinstance(document, dict):
        return [Finding("", "a manifest is a map with apiVersion, kind, metadata and spec")]
    kind = document.get("kind")
    if kind not in KINDS:
        known = ", ".join(KINDS)
        return [Finding("/kind", f"must be one of {known}{meant(str(kind), KINDS)}")]
    if found := violations(kind, document):
        return found
    return list(dict.fromkeys(_semantics(kind, document)))


def _semantics(kind: str, document: Mapping[str, Any]) -> Iterator[Finding]:
    spec = document["spec"]
    if kind == "Offering":
        yield from check_offering(spec, document["metadata"]["name"])
    elif kind == "Policy":
        yield from check_policy(spec)
    elif kind == "Window":
        yield from check_window(spec)
    elif kind == "Quota":
        yield from check_quota(spec)
    elif kind == "Scorecard":
        yield from check_scorecard(spec)
    elif kind == "Trigger":
        yield from _trigger(spec)
    elif kind == "Route":
        yield from _route(spec)
    elif kind == "Blueprint":
        yield from _blueprint(spec)
    elif kind == "Destination":
        yield from check_destination(spec)


def _trigger(spec: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _event_type(spec["on"], "/spec/on")
    if spec["on"] in _TYPES - _TRIGGERING:
        beginnings = ", ".join(f"{each}*" for each in _BEGINNINGS)
        yield Finding("/spec/on", f"a trigger waits for outside events or resources: {beginnings}")
    fields = event_fields([spec["on"]])
    if "when" in spec:
        yield from check_expression(spec["when"], "/spec/when", fields)
    yield from check_placeholders(spec["request"], "/spec/request", fields)
    lifetime = spec["request"].get("lifetime", "")
    if lifetime and "${" not in lifetime:
        yield from length(lifetime, "/spec/request/lifetime")


def _route(spec: Mapping[str, Any]) -> Iterator[Finding]:
    for index, name in enumerate(spec["on"]):
        yield from _event_type(name, f"/spec/on/{index}")
    fields = event_fields(spec["on"])
    if "when" in spec:
        yield from check_expression(spec["when"], "/spec/when", fields)
    message = spec.get("message", "")
    if "\n" in message.strip():
        yield Finding("/spec/message", "a message is one line")
    yield from check_placeholders(message, "/spec/message", fields)


def _blueprint(spec: Mapping[str, Any]) -> Iterator[Finding]:
    properties = spec["schema"]["properties"]
    for index, name in enumerate(spec["schema"].get("required", [])):
        if name not in properties:
            yield Finding(f"/spec/schema/required/{index}", f"{name} is not a property{meant(name, properties)}")


def _event_type(name: str, pointer: str) -> Iterator[Finding]:
    if name not in _TYPES:
        yield Finding(pointer, f"there is no event type {name}{meant(name, _TYPES)}")
