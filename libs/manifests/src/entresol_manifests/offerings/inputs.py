"""The inputs of an offering: schemas that can be validated, and the names that expressions may read."""

from collections.abc import Iterator, Mapping
from typing import Any

from entresol_manifests.findings import Finding
from entresol_manifests.pointers import child
from entresol_manifests.schemas import SchemaError, validator


def check_inputs(schema: Mapping[str, Any] | None, pointer: str) -> Iterator[Finding]:
    """What is wrong with the schema of inputs; nothing if there is none."""
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


def input_names(spec: Mapping[str, Any], action: Mapping[str, Any]) -> frozenset[str] | None:
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


def _fits(schema: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether a value fits one property, with the definitions of the whole schema at hand."""
    alone = {key: schema[key] for key in ("$defs", "definitions", "$id") if key in schema}
    return validator({**alone, "properties": {name: schema["properties"][name]}}).is_valid({name: value})
