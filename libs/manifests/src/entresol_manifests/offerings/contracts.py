"""Steps held against what their drivers have announced: a `with` that the driver takes, outputs that it gives.

What a placeholder will be is known only by its type, and not always that. What can't be known is not judged.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from entresol_manifests.expressions import ExpressionError
from entresol_manifests.findings import Finding, meant
from entresol_manifests.offerings.outputs import OUTPUTS, Declared, types_of_inputs, types_read
from entresol_manifests.offerings.steps import VERBATIM, Steps, check_reads, declared_by
from entresol_manifests.offerings.ways import check_results
from entresol_manifests.placeholders import only_placeholder, placeholders
from entresol_manifests.pointers import child
from entresol_manifests.schemas import SchemaError, differences, in_words, types_at, validator

_MARK: Final = "\0"
"""What stands for a placeholder begins so; no text of a manifest does."""
_MARKED: Final = {"type": "string", "pattern": f"^{_MARK}"}
_EACH: Final = ("properties", "patternProperties", "$defs", "definitions")
_LISTS: Final = ("allOf", "anyOf", "prefixItems")
_INNER: Final = ("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems")
_UNJUDGED: Final = ("contains", "minContains", "maxContains", "dependentSchemas", "$ref")
"""Keywords of which it is not worked out what they say of a known value beside an unknown one."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What a driver has announced; None where it does not say."""

    settings: Mapping[str, Any] | None
    outputs: Mapping[str, Any] | None

    @property
    def closed(self) -> Declared:
        """Its outputs, if there are no others."""
        if self.outputs is None or self.outputs.get("additionalProperties") is not False:
            return None
        found: Declared = self.outputs.get("properties", {})
        return found


Contracts = Mapping[str, Contract]
"""By the driver's name; empty as long as none has announced anything."""
_Types = Callable[[str], frozenset[str] | None]


def check_contracts(spec: Mapping[str, Any], contracts: Contracts) -> Iterator[Finding]:
    """What in the `spec` of an offering, which is right by itself, these drivers would refuse."""
    if not contracts:
        return
    required = {each["name"] for each in spec.get("requires", [])}

    def declared(step: Mapping[str, Any]) -> Declared:
        known = contracts.get(step["driver"])
        return declared_by(step) if OUTPUTS in step or known is None else known.closed

    for pointer, action, steps in _written(spec):
        given = {step["name"]: declared(step) for step in steps}
        inputs = [each["inputs"] for each in (spec, spec["actions"].get(action, {})) if "inputs" in each]

        def types(source: str, given: Mapping[str, Declared] = given, inputs: Any = inputs) -> frozenset[str] | None:
            return types_read(source, given) or types_of_inputs(source, inputs)

        for index, step in enumerate(steps):
            yield from _step(step, f"{pointer}/{index}", contracts, types)
        yield from check_reads(steps, pointer, given, required)
    yield from check_results(spec, required, declared)


def _written(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, Steps]]:
    """Pointer, action and steps, wherever there are some."""
    ways = [("/spec", spec)]
    ways += [(f"/spec/implementations/{index}", each) for index, each in enumerate(spec.get("implementations", []))]
    for pointer, way in ways:
        for action, said in way["actions"].items():
            yield f"{child(f'{pointer}/actions', action)}/steps", action, said.get("steps", [])


def _step(step: Mapping[str, Any], pointer: str, contracts: Contracts, types: _Types) -> Iterator[Finding]:
    name = step["driver"]
    if (contract := contracts.get(name)) is None:
        yield _unknown(name, f"{pointer}/driver", contracts)
    else:
        yield from _given(step.get("with", {}), contract, f"{pointer}/with", types)
        if (closed := contract.closed) is not None:
            for output in step.get(OUTPUTS, {}):
                if output not in closed:
                    told = f"{name} never gives {output}; it gives {', '.join(closed) or 'nothing'}"
                    yield Finding(child(f"{pointer}/{OUTPUTS}", output), told + meant(output, closed))
    if "compensate" in step:
        undo = step["compensate"]
        name = undo.get("driver", name)
        if name in contracts:
            yield from _given(undo["with"], contracts[name], f"{pointer}/compensate/with", types)
        elif "driver" in undo:
            yield _unknown(name, f"{pointer}/compensate/driver", contracts)


def _unknown(name: str, pointer: str, contracts: Contracts) -> Finding:
    return Finding(
        pointer, f"there is no driver {name}; there are {', '.join(sorted(contracts))}{meant(name, contracts)}"
    )


def _given(given: Mapping[str, Any], contract: Contract, pointer: str, types: _Types) -> Iterator[Finding]:
    schema = contract.settings
    if schema is None:
        return
    open_texts: dict[str, str] = {}
    value = _marked(given, "", open_texts)
    judged = _weighed(schema, fits=True, outermost=True) if open_texts else schema
    try:
        check = validator(judged)
    except SchemaError:
        return
    for found in differences(value, judged, check):
        yield Finding(pointer + found.pointer, found.message)
    for place, text in open_texts.items():
        source = only_placeholder(text)
        known = frozenset({"string"}) if source is None else types(source)
        wanted = types_at(schema, tuple(_parts(place)))
        if known is None or _may_be(known, wanted) or not wanted:
            continue
        if source is None:
            told = "but a ${…} within a text becomes text; let it stand alone"
        else:
            told = f"but ${{{source}}} is {in_words(known)}"
        yield Finding(pointer + place, f"must be {in_words(wanted)}, {told}")


def _parts(pointer: str) -> Iterator[str]:
    return (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _may_be(known: frozenset[str], wanted: frozenset[str]) -> bool:
    """Whether one of the types is one of the others; a number may be a whole one, and a whole one is a number."""
    numbers = {"integer", "number"}
    return bool(known & wanted or (known & numbers and wanted & numbers))


def _marked(value: Any, pointer: str, found: dict[str, str]) -> Any:
    """The value with a mark for each text whose value is open; these, by their pointers, go into `found`."""
    if pointer in VERBATIM:
        return value
    if isinstance(value, dict):
        return {key: _marked(each, child(pointer, key), found) for key, each in value.items()}
    if isinstance(value, list):
        return [_marked(each, child(pointer, index), found) for index, each in enumerate(value)]
    if isinstance(value, str) and _is_open(value):
        found[pointer] = value
        return _MARK + pointer
    return value


def _is_open(text: str) -> bool:
    try:
        return next(placeholders(text), None) is not None
    except ExpressionError:
        return True


def _weighed(schema: Any, *, fits: bool, outermost: bool = False) -> Any:
    """The schema with which a mark fits everywhere, or nowhere: what may come to hold, or what is sure to hold."""
    if not isinstance(schema, Mapping):
        return schema
    inner: dict[str, Any] = {}
    rules: list[Any] = []
    for key, value in schema.items():
        if key in _EACH and isinstance(value, Mapping):
            inner[key] = {name: _weighed(each, fits=fits) for name, each in value.items()}
        elif key in _LISTS or (key == "oneOf" and not _is_about_keys(value)):
            each_weighed = [_weighed(each, fits=fits) for each in value]
            inner["anyOf" if key == "oneOf" else key] = each_weighed
            if key == "oneOf" and not fits:
                rules.append({"oneOf": [_weighed(each, fits=True) for each in value]})
        elif key in _INNER:
            inner[key] = _weighed(value, fits=fits)
        elif key == "not":
            inner[key] = _weighed(value, fits=not fits)
        elif key == "if":
            rules += [
                {"if": _weighed(value, fits=fits is (branch == "else")), branch: _weighed(schema[branch], fits=fits)}
                for branch in ("then", "else")
                if branch in schema
            ]
        elif key in _UNJUDGED and not fits:
            return False
        elif key not in (*_UNJUDGED, "then", "else") or (key == "$ref" and fits):
            inner[key] = value
    if rules:
        inner["allOf"] = [*inner.get("allOf", ()), *rules]
    return inner if outermost else {"if": _MARKED, "then": fits, "else": inner}


def _is_about_keys(value: Any) -> bool:
    return all(isinstance(each, Mapping) and each.keys() == {"required"} for each in value)
