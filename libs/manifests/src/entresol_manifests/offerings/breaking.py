"""Whether a new version of an offering still does what an earlier one did for those who use it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_manifests.compatibility import Comparison, Schema
from entresol_manifests.findings import Finding
from entresol_manifests.implementations import CREATE, UPDATE
from entresol_manifests.pointers import child

_INPUTS: Final = "inputs"
_ALWAYS: Final = {CREATE, "adopt", "delete", "extend", "pause", "reconcile", "rollback", "unpause", UPDATE}
"""Actions that every offering has, whether it says anything of them or not."""
_NOTES: Final = ("format", "contentEncoding", "contentMediaType", "contentSchema")
"""Nothing that is asked for is held to these."""


def narrowings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Finding]:
    """What the `spec` of the later version takes, offers or gives no more, each with its place in it.

    The inputs of an action that has none of its own are the offering's, none of which is then required.
    """
    found = dict.fromkeys(_narrowed(_filled(before.get(_INPUTS)), _filled(after.get(_INPUTS)), "/spec/inputs"))
    for action, said in before["actions"].items():
        own = after["actions"].get(action, {}).get(_INPUTS)
        if action not in after["actions"] and action not in _ALWAYS:
            found[Finding("/spec/actions", f"the action {action} was removed or renamed")] = None
        elif own is not None or _INPUTS in said:
            pointer = "/spec/inputs" if own is None else f"{child('/spec/actions', action)}/inputs"
            found |= dict.fromkeys(_narrowed(_taken(before, action), _taken(after, action), pointer))
    found |= dict.fromkeys(_given_up(before, after))
    yield from sorted(found, key=lambda each: (each.pointer, each.message))


def _given_up(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Finding]:
    for name in before.get("outputs", {}).keys() - after.get("outputs", {}).keys():
        yield Finding("/spec/outputs", f"the output {name} was removed or renamed")
    offered, there = before.get("environments"), after.get("environments")
    if there is not None and (offered is None or set(offered) - set(there)):
        gone = "others" if offered is None else ", ".join(sorted(set(offered) - set(there)))
        yield Finding("/spec/environments", f"it is not offered in {gone} any more")


def _taken(spec: Mapping[str, Any], action: str) -> Schema | None:
    own: Schema | None = spec["actions"].get(action, {}).get(_INPUTS)
    if action == CREATE:
        return _filled(own if own is not None else spec.get(_INPUTS))
    return own if own is not None else {key: each for key, each in spec.get(_INPUTS, {}).items() if key != "required"}


def _filled(schema: Schema | None) -> Schema | None:
    """What has to be given of the inputs of something new: what is left out gets its default."""
    if schema is None or "required" not in schema:
        return schema
    fields = schema.get("properties", {})
    missed = [name for name in schema["required"] if "default" not in _map(fields.get(name))]
    return {**schema, "required": missed}


def _map(schema: Any) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {}


def _narrowed(before: Schema | None, after: Schema | None, pointer: str) -> Iterator[Finding]:
    old, new = ({"type": "object", **(schema or {})} for schema in (before, after))
    if old == new:
        return
    for change in Comparison({_INPUTS: old}, {_INPUTS: new}, _NOTES).changes(_INPUTS):
        if change.effect == "narrows":
            yield Finding(pointer + change.place.pointer, change.what)
