"""Who manages which field of an object: the part of server-side apply that a stand-in for an API server needs.

A path is a tuple of the steps that managedFields are written with: `f:spec`, `k:{"name":"app"}`. Lists are atomic but
for those that Kubernetes merges by a key.
"""

import copy
import json
from typing import Any

KEYS = {
    ("spec", "containers"): "name",
    ("containers", "env"): "name",
    ("spec", "volumes"): "name",
    ("containers", "ports"): "containerPort",
    ("spec", "ports"): "port",
}
"""Key of the items of a list, by the names of what holds it and of itself."""
IDENTITY = {("f:apiVersion",), ("f:kind",)} | {("f:metadata", f"f:{one}") for one in ("name", "namespace", "uid")}
SERVERS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "deletionTimestamp")
Path = tuple[str, ...]


class Conflicts(Exception):
    """Fields that others manage: manager and path."""


def leaves(one: Any, at: Path = (), names: tuple[str, str] = ("", "")) -> dict[Path, Any]:
    """The values of an object by their paths, without what names it and what is the server's."""
    if isinstance(one, dict) and (one or at[-1:] == ("f:emptyDir",)):
        found: dict[Path, Any] = {} if one else {at: {}}
        for key, value in one.items():
            if at == ("f:metadata",) and key in SERVERS:
                continue
            found |= leaves(value, (*at, f"f:{key}"), (names[1], key))
        return {path: value for path, value in found.items() if path not in IDENTITY}
    if isinstance(one, list) and (key := KEYS.get(names)) is not None:
        found = {}
        for item in one:
            place = (*at, f"k:{json.dumps({key: item[key]})}")
            found |= {(*place, "."): None} | leaves(item, place, ("", names[1]))
        return found
    return {at: one}


def sets_of(one: dict[str, Any]) -> dict[tuple[str, str], set[Path]]:
    """The fields of each manager, by its name and how it manages them."""

    def unfold(fields: dict[str, Any], at: Path) -> set[Path]:
        found: set[Path] = set()
        for step, inner in fields.items():
            found |= unfold(inner, (*at, step)) if inner else {(*at, step)}
        return found

    listed = one["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): unfold(entry["fieldsV1"], ()) for entry in listed}


def write_sets(one: dict[str, Any], sets: dict[tuple[str, str], set[Path]]) -> None:
    entries = []
    for (manager, operation), paths in sets.items():
        folded: dict[str, Any] = {}
        for path in sorted(paths):
            inner = folded
            for step in path:
                inner = inner.setdefault(step, {})
        if folded:
            entry = {"manager": manager, "operation": operation, "apiVersion": one["apiVersion"]}
            entries.append({**entry, "fieldsType": "FieldsV1", "fieldsV1": folded})
    one["metadata"]["managedFields"] = entries


def applied(live: dict[str, Any], manifest: dict[str, Any], manager: str, *, force: bool) -> dict[str, Any]:
    """The object after the manager has applied the manifest. Raises Conflicts."""
    wanted, there, sets = leaves(manifest), leaves(live), sets_of(live)
    mine = (manager, "Apply")
    taken = [
        (other[0], path)
        for other, paths in sets.items()
        for path in sorted(paths & wanted.keys())
        if other != mine and there.get(path) != wanted[path]
    ]
    if taken and not force:
        raise Conflicts(taken)
    for _, path in taken:
        for other, paths in sets.items():
            if other != mine:
                paths.discard(path)
    others = set().union(*(paths for other, paths in sets.items() if other != mine))
    result = copy.deepcopy(live)
    for path in sorted(sets.get(mine, set()) - wanted.keys() - others, reverse=True):
        remove(result, path)
    for path, value in wanted.items():
        put(result, path, value)
    write_sets(result, {**sets, mine: set(wanted)})
    return result


def updated(live: dict[str, Any], result: dict[str, Any], manager: str) -> dict[str, Any]:
    """The object after the manager has written it whole: what it changed is the manager's alone now."""
    before, after, sets = leaves(live), leaves(result), sets_of(live)
    changed = {path for path in after if path not in before or before[path] != after[path]}
    for paths in sets.values():
        paths -= changed | (before.keys() - after.keys())
    sets.setdefault((manager, "Update"), set()).update(changed)
    write_sets(result, sets)
    return result


def put(one: Any, path: Path, value: Any) -> None:
    for number, step in enumerate(path):
        if step == ".":
            return
        last = number == len(path) - 1
        if step.startswith("k:"):
            key = json.loads(step[2:])
            item = next((item for item in one if key.items() <= item.items()), None)
            if item is None:
                one.append(item := dict(key))
            one = item
        elif last:
            one[step[2:]] = copy.deepcopy(value)
        else:
            one = one.setdefault(step[2:], [] if path[number + 1].startswith("k:") else {})


def remove(one: Any, path: Path) -> None:
    """Take the value out, and maps that are empty without it."""
    step, rest = path[0], path[1:]
    if step.startswith("k:"):
        key = json.loads(step[2:])
        item = next((item for item in one if key.items() <= item.items()), None)
        if item is not None and rest == (".",):
            one.remove(item)
        elif item is not None:
            remove(item, rest)
    elif step[2:] in one:
        if rest:
            remove(one[step[2:]], rest)
        if not rest or one[step[2:]] in ({}, []):
            del one[step[2:]]
