"""Whether a new version of an offering still takes the inputs that an earlier one took."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_manifests.compatibility import Comparison, Schema
from entresol_manifests.findings import Finding
from entresol_manifests.implementations import CREATE
from entresol_manifests.pointers import child

_INPUTS: Final = "inputs"


def narrowings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Finding]:
    """What the `spec` of the later version takes no more, each with its place in it.

    The inputs of an action that has none of its own are the offering's, none of which is then required.
    """
    found = dict.fromkeys(_narrowed(before.get(_INPUTS), after.get(_INPUTS), "/spec/inputs"))
    for action in before["actions"].keys() & after["actions"].keys():
        own = after["actions"][action].get(_INPUTS)
        if own is None and _INPUTS not in before["actions"][action]:
            continue
        pointer = "/spec/inputs" if own is None else f"{child('/spec/actions', action)}/inputs"
        found |= dict.fromkeys(_narrowed(_taken(before, action), _taken(after, action), pointer))
    yield from sorted(found, key=lambda each: (each.pointer, each.message))


def _taken(spec: Mapping[str, Any], action: str) -> Schema | None:
    own: Schema | None = spec["actions"][action].get(_INPUTS)
    if own is not None or action == CREATE:
        return own if own is not None else spec.get(_INPUTS)
    return {key: value for key, value in spec.get(_INPUTS, {}).items() if key != "required"}


def _narrowed(before: Schema | None, after: Schema | None, pointer: str) -> Iterator[Finding]:
    old, new = ({"type": "object", **(schema or {})} for schema in (before, after))
    if old == new:
        return
    for change in Comparison({_INPUTS: old}, {_INPUTS: new}).changes(_INPUTS):
        if change.effect == "narrows":
            yield Finding(pointer + change.place.pointer, change.what)
