"""The ways in which an offering is done: by its own steps, or by those of an implementation."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from entresol_manifests.findings import Finding, meant
from entresol_manifests.implementations import CREATE, UPDATE, steps_of
from entresol_manifests.naming import Fields
from entresol_manifests.offerings.outputs import Declared, check_read, check_required, reads
from entresol_manifests.offerings.steps import check_steps, declared_by, sources
from entresol_manifests.pointers import child

DELETE: Final = "delete"
_ASKS: Final = ("has(", " in ")
"""An expression with one of these may ask first whether there is such a step."""


def check_implementations(
    spec: Mapping[str, Any], fields_of: Callable[[str], Fields], required: Collection[str]
) -> Iterator[Finding]:
    """What is wrong with the implementations of an offering; `fields_of` says what the steps of an action may name."""
    names: set[str] = set()
    matches: list[tuple[str, dict[str, frozenset[str]]]] = []
    offered = {*spec["actions"], CREATE, UPDATE, DELETE}
    for index, each in enumerate(spec.get("implementations", [])):
        pointer = f"/spec/implementations/{index}"
        if each["name"] in names:
            yield Finding(f"{pointer}/name", f"there are two implementations named {each['name']}")
        names.add(each["name"])
        match = {dimension: frozenset(listed) for dimension, listed in each["match"].items()}
        for other, earlier in matches:
            if earlier.keys() == match.keys() and all(match[one] & earlier[one] for one in match):
                both = {one: sorted(match[one] & earlier[one]) for one in match}
                told = " and ".join(f"{one} {' or '.join(names)}" for one, names in both.items())
                yield Finding(f"{pointer}/match", f"is as specific as {other} for {told}: leave that to one of them")
        matches.append((each["name"], match))
        environments = spec.get("environments")
        for number, environment in enumerate(each["match"].get("environment", [])):
            if environments is not None and environment not in environments:
                hint = meant(environment, environments)
                yield Finding(f"{pointer}/match/environment/{number}", f"the offering is not for {environment}{hint}")
        for name, action in each["actions"].items():
            place = child(f"{pointer}/actions", name)
            if name not in offered:
                yield Finding(place, f"the offering has no action {name}{meant(name, offered)}")
            yield from check_steps(action["steps"], f"{place}/steps", fields_of(name), required)


def check_results(
    spec: Mapping[str, Any], required: Collection[str], declared: Callable[[Mapping[str, Any]], Declared] = declared_by
) -> Iterator[Finding]:
    """What of the outputs and of the entity reads what no way, or not every way, to do the offering gives.

    `declared` says what a step gives.
    """
    ways = {each["name"]: _steps(spec, each["name"], declared) for each in spec.get("implementations", [])}
    own = _steps(spec, None, declared)
    every = {name for steps in (own, *ways.values()) for name in steps}
    for key in ("outputs", "entity"):
        for place, source in sources(spec.get(key, {})):
            pointer = f"/spec/{key}{place}"
            for read in dict.fromkeys(reads(source)):
                if read.root == "requires":
                    yield from check_required(read, pointer, required)
                elif read.name not in every:
                    hint = meant(read.name, every)
                    yield Finding(pointer, f"reads the outputs of step {read.name}, which does not exist{hint}")
                else:
                    given = [one for steps in (own, *ways.values()) for one in steps.get(read.name, ())]
                    yield from check_read(read, pointer, given, of=f"step {read.name}")
                    lacking = [name for name, steps in ways.items() if read.name not in steps]
                    if lacking and not any(word in source for word in _ASKS):
                        without = ", ".join(lacking)
                        yield Finding(pointer, f"reads the outputs of step {read.name}, which is not done by {without}")


def _steps(
    spec: Mapping[str, Any], implementation: str | None, declared: Callable[[Mapping[str, Any]], Declared]
) -> dict[str, list[Declared]]:
    """What each step of a way declares, once for each of the actions that has it."""
    found: dict[str, list[Declared]] = {}
    actions = dict.fromkeys((*spec["actions"], UPDATE, DELETE))
    for each in spec.get("implementations", []):
        if each["name"] == implementation:
            actions |= dict.fromkeys(each["actions"])
    for action in actions:
        for step in steps_of(spec, implementation, action).steps or ():
            found.setdefault(step["name"], []).append(declared(step))
    return found
