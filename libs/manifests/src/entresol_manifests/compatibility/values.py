"""What single keywords let through, and how that changed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from entresol_manifests.compatibility.references import Place, Schema

JSON_TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
LOWER_BOUNDS: Final = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"}
UPPER_BOUNDS: Final = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"}
UNSAID: Final = {"minLength": 0, "minItems": 0, "minProperties": 0, "minContains": 1, "uniqueItems": False}
"""What a keyword means where it is not written."""
BESIDE: Final = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
"""What implies a bound where that is not written."""

Effect: TypeAlias = Literal["adds", "narrows", "widens"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that documents can notice."""

    effect: Effect
    place: Place
    what: str


def types(schema: Schema) -> frozenset[str]:
    """JSON types the schema lets through; every number is meant by `number`, integers among them."""
    named = schema.get("type")
    if named is None:
        return JSON_TYPES
    listed = frozenset([named] if isinstance(named, str) else named)
    return listed | {"integer"} if "number" in listed else listed


def allowed(schema: Schema) -> frozenset[str] | None:
    """The listed values, as JSON texts; None if any value may stand there."""
    if "enum" in schema or "const" in schema:
        return frozenset(_text(value) for value in _listed(schema))
    few = {"boolean": ["false", "true"], "null": ["null"]}
    named = types(schema)
    return frozenset(value for each in named for value in few[each]) if named <= few.keys() else None


def type_changes(old: Schema, new: Schema, place: Place) -> Iterator[Change]:
    was, now = types(old), types(new)
    yield from _gone(_possible(old) - now, place, "type")
    yield from _come(now - was, place, "type")


def _possible(schema: Any, deep: int = 8) -> frozenset[str]:
    """The JSON types of what fits, at most."""
    if not isinstance(schema, dict) or not deep:
        return JSON_TYPES
    found = types(schema)
    if "enum" in schema or "const" in schema:
        found &= {_type(value) for value in _listed(schema)}
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            found &= frozenset[str]().union(*(_possible(each, deep - 1) for each in schema[keyword]))
    return found


def value_changes(old: Schema, new: Schema, place: Place) -> Iterator[Change]:
    """How the listed values changed; where none are listed on either side it is for the types to tell."""
    if not {"enum", "const"} & (old.keys() | new.keys()):
        return
    was, now, spot = allowed(old), allowed(new), place / ("const" if "const" in new else "enum")
    if was is not None and now is not None:
        yield from _gone(was - now, spot, "value")
        yield from _come(now - was, spot, "value")
    elif now is not None:
        yield Change("narrows", spot, "the values are limited now")
    elif was is not None:
        yield Change("widens", spot, "the values are no longer limited")


def _gone(names: frozenset[str], place: Place, noun: str) -> Iterator[Change]:
    if names:
        yield Change("narrows", place, f"{noun} {', '.join(sorted(names))} was removed")


def _come(names: frozenset[str], place: Place, noun: str) -> Iterator[Change]:
    if names:
        yield Change("widens", place, f"{noun} {', '.join(sorted(names))} was added")


def _listed(schema: Schema) -> list[Any]:
    values: list[Any] = schema.get("enum", [schema.get("const")])
    return [value for value in values if "const" not in schema or _text(value) == _text(schema["const"])]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "integer" if value == int(value) else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def keyword_changes(keyword: str, old: Schema, new: Schema, place: Place) -> Iterator[Change]:
    """Bounds have a direction; of any other keyword only "came" and "went" can be told, and a change counts as both."""
    was, now, spot = old.get(keyword), new.get(keyword), place / keyword
    if was is None and keyword in BESIDE:
        was = old.get(BESIDE[keyword])
    was, now = (UNSAID.get(keyword) if each is None else each for each in (was, now))
    if was == now:
        return
    if isinstance(was, int | float) and isinstance(now, int | float) and keyword in LOWER_BOUNDS | UPPER_BOUNDS:
        narrows = now > was if keyword in LOWER_BOUNDS else now < was
        yield Change("narrows" if narrows else "widens", spot, f"`{keyword}` went from {was} to {now}")
    elif keyword == "uniqueItems":
        yield Change("narrows" if now else "widens", spot, f"`uniqueItems` went from {was} to {now}")
    elif keyword == "multipleOf" and was is not None and now is not None and was % now == 0:
        yield Change("widens", spot, f"`multipleOf` went from {was} to {now}")
    elif was is None:
        yield Change("narrows", spot, f"`{keyword}` was added")
    elif now is None:
        yield Change("widens", spot, f"`{keyword}` was removed")
    else:
        yield Change("narrows", spot, f"`{keyword}` changed")
