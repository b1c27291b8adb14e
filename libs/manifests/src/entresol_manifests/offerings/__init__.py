"""What an offering must hold beyond its schema, by its parts: inputs, times, requirements, steps, and ways to do it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from entresol_manifests.findings import Finding
from entresol_manifests.naming import COST, OFFERING, REQUIREMENT, Fields, check_expression, check_placeholders
from entresol_manifests.offerings.inputs import check_inputs, input_names
from entresol_manifests.offerings.requirements import check_requirements
from entresol_manifests.offerings.steps import check_steps
from entresol_manifests.offerings.times import check_drift, check_lifetime
from entresol_manifests.offerings.ways import check_implementations, check_results
from entresol_manifests.pointers import child

__all__ = ["check_offering"]

WITHOUT_STEPS: Final[Mapping[str, str]] = {
    "extend": "only moves the end of the lifetime",
    "adopt": "looks at what the steps of create would make",
    "reconcile": "does the steps of the last inputs again",
    "rollback": "does the steps of earlier inputs again",
    "pause": "only keeps changes away",
    "unpause": "only ends a pause",
}
"""Actions that every offering has and none can define, and why they have no steps of their own."""


def check_offering(spec: Mapping[str, Any], name: str) -> Iterator[Finding]:
    """Everything that is wrong in the `spec` of the offering of this name, which fits its schema."""
    required = {each["name"] for each in spec.get("requires", [])}

    def fields_of(action: str) -> Fields:
        return _with_inputs(OFFERING, spec, spec["actions"].get(action, {}))

    yield from check_inputs(spec.get("inputs"), "/spec/inputs")
    yield from check_lifetime(spec.get("lifetime"))
    yield from check_drift(spec.get("drift"))
    yield from check_requirements(spec, name, _with_inputs(REQUIREMENT, spec, {}))
    for action, said in spec["actions"].items():
        pointer = child("/spec/actions", action)
        yield from _built_in(action, said, pointer)
        yield from check_inputs(said.get("inputs"), f"{pointer}/inputs")
        yield from check_steps(said.get("steps", []), f"{pointer}/steps", fields_of(action), required)
    yield from check_implementations(spec, fields_of, required)
    for key in ("outputs", "entity"):  # filled after any action, so that the request may have the inputs of any
        results = {**OFFERING, "inputs": input_names(spec, {})}
        yield from check_placeholders(spec.get(key, {}), f"/spec/{key}", results)
    yield from check_results(spec, required)
    if "cost" in spec:
        yield from check_expression(spec["cost"], "/spec/cost", _with_inputs(COST, spec, {}))


def _with_inputs(fields: Fields, spec: Mapping[str, Any], action: Mapping[str, Any]) -> Fields:
    names = input_names(spec, action)
    return {**fields, "inputs": names, "request.inputs": names}


def _built_in(action: str, said: Mapping[str, Any], pointer: str) -> Iterator[Finding]:
    if action == "apply":
        yield Finding(pointer, "apply is taken: it means create, or update what is there")
    elif action in WITHOUT_STEPS:
        why = f"{action} {WITHOUT_STEPS[action]}"
        if said.get("steps"):
            yield Finding(f"{pointer}/steps", f"{why} and has no steps")
        if "inputs" in said and action != "extend":
            yield Finding(f"{pointer}/inputs", f"{why} and has no inputs of its own")
