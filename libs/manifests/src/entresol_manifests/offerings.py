"""What an offering must hold beyond its schema: steps in an order that works, inputs that can be validated."""

from collections.abc import Iterator, Mapping
from typing import Any

from entresol_manifests import durations
from entresol_manifests.expressions import ExpressionError, placeholders
from entresol_manifests.findings import Finding, meant
from entresol_manifests.folders import FOLDER_KEYS
from entresol_manifests.naming import COST, OFFERING, Fields, check_expression, check_placeholders, steps_named
from entresol_manifests.pointers import child
from entresol_manifests.schemas import SchemaError, validator

VERBATIM = ("/files",)
"""What of a step's `with` holds no placeholders of ours: inlined files have `${…}` of their own."""


def check_offering(spec: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything that is wrong in the `spec` of an offering that fits its schema."""
    yield from _inputs(spec.get("inputs"), "/spec/inputs")
    yield from _lifetime(spec.get("lifetime"))
    for name, action in spec["actions"].items():
        pointer = child("/spec/actions", name)
        yield from _inputs(action.get("inputs"), f"{pointer}/inputs")
        fields = {**OFFERING, "inputs": _input_names(spec, action), "request.inputs": _input_names(spec, action)}
        if name == "apply":
            yield Finding(pointer, "apply is taken: it means create, or update what is there")
        if name == "extend" and action.get("steps"):
            yield Finding(f"{pointer}/steps", "extend only moves the end of the lifetime and has no steps")
        yield from _steps(action.get("steps", []), f"{pointer}/steps", fields)
    yield from _results(spec)
    if "cost" in spec:
        names = _input_names(spec, {})
        yield from check_expression(spec["cost"], "/spec/cost", {**COST, "inputs": names, "request.inputs": names})


def _inputs(schema: Mapping[str, Any] | None, pointer: str) -> Iterator[Finding]:
    if schema is None:
        return
    try:
        validator(schema)
    except SchemaError as error:
        yield Finding(pointer + error.pointer, error.message)
        return
    if schema.get("type", "object") != "object":
        yield Finding(f"{pointer}/type", "inputs are always a map: write type: object")
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if properties and name not in properties and "patternProperties" not in schema:
            yield Finding(f"{pointer}/required", f"{name} is required but not among the properties")
    for name, inner in properties.items():
        if isinstance(inner, dict) and "default" in inner and not _fits(schema, name, inner["default"]):
            yield Finding(f"{child(pointer + '/properties', name)}/default", "the default does not fit its own schema")


def _fits(schema: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether a value fits one property, with the definitions of the whole schema at hand."""
    alone = {key: schema[key] for key in ("$defs", "definitions", "$id") if key in schema}
    return validator({**alone, "properties": {name: schema["properties"][name]}}).is_valid({name: value})


def _input_names(spec: Mapping[str, Any], action: Mapping[str, Any]) -> frozenset[str] | None:
    """The inputs that an expression of the action may read; None if the schemas leave that open."""
    names: set[str] = set()
    for schema in (spec.get("inputs"), action.get("inputs")):
        if schema is None:
            continue
        composed = {"$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas"} & schema.keys()
        properties = schema.get("properties", {})
        if composed or schema.get("additionalProperties", False) is not False or not isinstance(properties, Mapping):
            return None
        names |= properties.keys()
    return frozenset(names)


def _lifetime(lifetime: Mapping[str, Any] | None) -> Iterator[Finding]:
    if lifetime is None:
        return
    lengths: dict[str, float] = {}
    warnings = {f"warn/{index}": text for index, text in enumerate(lifetime.get("warn", []))}
    for key, text in {**{key: lifetime[key] for key in ("default", "max") if key in lifetime}, **warnings}.items():
        try:
            lengths[key] = durations.seconds(text)
        except ValueError as error:
            yield Finding(f"/spec/lifetime/{key}", str(error))
    default, longest = lengths.get("default"), lengths.get("max")
    if default == 0 or longest == 0:
        yield Finding("/spec/lifetime", "a lifetime must be longer than nothing")
    if default is not None and longest is not None and default > longest:
        yield Finding("/spec/lifetime/default", f"the default {lifetime['default']} is longer than the max")
    end = default if default is not None else longest
    for key in warnings:
        if end is not None and lengths.get(key, 0) >= end:
            yield Finding(f"/spec/lifetime/{key}", "the warning would come before the lifetime begins")


def _steps(steps: list[Mapping[str, Any]], pointer: str, fields: Fields) -> Iterator[Finding]:
    needs: dict[str, set[str]] = {}
    for index, step in enumerate(steps):
        if step["name"] in needs:
            yield Finding(f"{pointer}/{index}/name", f"there are two steps named {step['name']}")
        needs.setdefault(step["name"], set()).update(step.get("needs", []))
    for index, step in enumerate(steps):
        for number, needed in enumerate(step.get("needs", [])):
            if needed not in needs:
                hint = meant(needed, needs)
                yield Finding(f"{pointer}/{index}/needs/{number}", f"there is no step {needed} in this action{hint}")
    before = {name: _before(name, needs) for name in needs}
    circle = sorted(name for name, earlier in before.items() if name in earlier)
    if circle:
        yield Finding(pointer, f"steps wait for each other in a circle: {', '.join(circle)}")
    for index, step in enumerate(steps):
        yield from _step(step, f"{pointer}/{index}", fields, set(needs), before[step["name"]])


def _before(name: str, needs: Mapping[str, set[str]]) -> set[str]:
    """The steps that have ended when this one starts; itself among them if they go round in a circle."""
    found: set[str] = set()
    waiting = list(needs.get(name, ()))
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += needs.get(each, ())
    return found


def _step(
    step: Mapping[str, Any], pointer: str, fields: Fields, siblings: set[str], before: set[str]
) -> Iterator[Finding]:
    given = step.get("with", {})
    places = [(f"{pointer}/with{place}", source) for place, source in _sources(given)]
    if "when" in step:
        yield from check_expression(step["when"], f"{pointer}/when", fields)
        places.append((f"{pointer}/when", step["when"]))
    yield from check_placeholders(given, f"{pointer}/with", fields, VERBATIM)
    for place, source in places:
        for name in sorted(steps_named(source) - before):
            if name in siblings:
                yield Finding(place, f"reads the outputs of step {name}, which must be among its needs")
            else:
                yield Finding(place, f"reads the outputs of step {name}, which does not exist{meant(name, siblings)}")
    key = FOLDER_KEYS.get(step["driver"])
    if key is not None and key in given:
        yield Finding(
            f"{pointer}/with/{key}", "names a folder; publish the file with `entresol apply`, which inlines it"
        )
    if step["driver"] == "gitops" and ("destination" in given) == ("repository" in given):
        yield Finding(f"{pointer}/with", "a gitops step has either a destination or a repository")


def _results(spec: Mapping[str, Any]) -> Iterator[Finding]:
    fields: Fields = {**OFFERING, "inputs": _input_names(spec, {})}
    steps = {step["name"] for action in spec["actions"].values() for step in action.get("steps", [])}
    for key in ("outputs", "entity"):
        value = spec.get(key, {})
        yield from check_placeholders(value, f"/spec/{key}", fields)
        for place, source in _sources(value):
            for name in sorted(steps_named(source) - steps):
                hint = meant(name, steps)
                yield Finding(f"/spec/{key}{place}", f"reads the outputs of step {name}, which does not exist{hint}")


def _sources(value: Any) -> list[tuple[str, str]]:
    try:
        return list(placeholders(value, verbatim=VERBATIM))
    except ExpressionError:
        return []
