"""What a plan of terraform tells about the world: whether anything is there, and where it differs.

Terraform plans against what it finds, so what it would do is what somebody else has undone. A drift that it would not
put right is no difference: the module leaves that field to others. Values never get out of here, nor what lies beneath
a field that is marked as sensitive.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from entresol_provisioning.drivers import Difference, Observation
from entresol_provisioning.drivers.fields import compare

_NOTHING = (["no-op"], ["read"])
_UNDONE: Mapping[tuple[str, ...], Any] = {("create",): "removed", ("delete",): "added", ("forget",): "added"}


def observation(document: Mapping[str, Any], refer: Callable[[str], dict[str, str]]) -> Observation:
    """What is there, by the document of a plan; `refer` gives the reference to a sensitive output."""
    if not _exists(document):
        return Observation(exists=False)
    return Observation(exists=True, differences=_differences(document), outputs=_outputs(document, refer))


def imported(document: Mapping[str, Any]) -> list[str]:
    """What would come into the state from outside."""
    return [one["address"] for one in document.get("resource_changes", ()) if "importing" in one["change"]]


def touched(document: Mapping[str, Any]) -> list[str]:
    """What the plan would do to the world, one line for each thing."""
    changes = [(one["change"]["actions"], one["address"]) for one in document.get("resource_changes", ())]
    lines = [f"{' and '.join(actions)} {address}" for actions, address in changes if actions not in _NOTHING]
    return [*lines, *(f"run {one['address']}" for one in document.get("action_invocations") or ())]


def _exists(document: Mapping[str, Any]) -> bool:
    """Whether anything is there; of a module that manages nothing, whether it was applied."""
    values = document.get("prior_state", {}).get("values", {})
    if any(address not in set(imported(document)) for address in _managed(values.get("root_module", {}))):
        return True
    manages = any(one.get("mode") == "managed" for one in document.get("resource_changes", ()))
    return not manages and bool(values.get("outputs"))


def _managed(module: Mapping[str, Any]) -> Iterator[str]:
    yield from (one["address"] for one in module.get("resources", ()) if one.get("mode") == "managed")
    for child in module.get("child_modules", ()):
        yield from _managed(child)


def _differences(document: Mapping[str, Any]) -> tuple[Difference, ...]:
    drifted = {one["address"]: one["change"] for one in document.get("resource_drift", ())}
    found: dict[str, Difference] = {}
    for one in document.get("resource_changes", ()):
        change, address = one["change"], one["address"]
        actions = tuple(change["actions"])
        if one.get("mode") != "managed" or list(actions) in _NOTHING:
            continue
        if actions in _UNDONE:
            found[address] = Difference(address, _UNDONE[actions])
            continue
        places = {**dict(_planned(change)), **dict(_drift(drifted.get(address)))} or {"": "changed"}
        for pointer, what in places.items():
            path = f"{address}#{pointer}" if pointer else address
            found[path] = Difference(path, what)
    if not found:
        for name, change in document.get("output_changes", {}).items():
            if change["actions"] != ["no-op"]:
                path = f"output.{name}"
                found[path] = Difference(path, _UNDONE.get(tuple(change["actions"]), "changed"))
    return tuple(found[path] for path in sorted(found))


def _planned(change: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Where the world is not what the plan would make of it, without what only the apply will tell."""
    unknown = change.get("after_unknown")
    here, wanted = _known(change.get("before"), unknown), _known(change.get("after"), unknown)
    return compare(wanted, here, _sensitive(change))


def _drift(change: Mapping[str, Any] | None) -> Iterator[tuple[str, Any]]:
    if change is None or not isinstance(change.get("after"), Mapping):
        return iter(())
    return compare(change.get("before"), change["after"], _sensitive(change))


def _sensitive(change: Mapping[str, Any]) -> Any:
    return _either(change.get("before_sensitive"), change.get("after_sensitive"))


def _either(one: Any, other: Any) -> Any:
    if one is True or other is True:
        return True
    if isinstance(one, Mapping) or isinstance(other, Mapping):
        first, second = (marks if isinstance(marks, Mapping) else {} for marks in (one, other))
        return {key: _either(first.get(key), second.get(key)) for key in {*first, *second}}
    if isinstance(one, list) or isinstance(other, list):
        both = (marks if isinstance(marks, list) else [] for marks in (one, other))
        return [_either(*pair) for pair in zip_longest(*both)]
    return None


def _known(value: Any, unknown: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(unknown, Mapping):
        return {key: _known(one, unknown.get(key)) for key, one in value.items() if unknown.get(key) is not True}
    if isinstance(value, list) and isinstance(unknown, list):
        marks = [*unknown, *[None] * len(value)]
        return [None if mark is True else _known(one, mark) for one, mark in zip(value, marks, strict=False)]
    return value


def _outputs(document: Mapping[str, Any], refer: Callable[[str], dict[str, str]]) -> dict[str, Any] | None:
    """What an apply would give; None if only the apply can tell."""
    planned = document.get("planned_values", {}).get("outputs", {})
    outputs: dict[str, Any] = {}
    for name, one in planned.items():
        if one.get("sensitive"):
            outputs[name] = refer(name)
        elif "value" in one:
            outputs[name] = one["value"]
        else:
            return None
    return outputs
