"""What changed between two versions of JSON Schemas, and whether documents that fitted before may be refused now.

Both sides may come from outside: references are followed only within the schemas given, and what can't be followed, or
is too large to be walked through, counts as narrower if it differs at all.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote

ANNOTATIONS = {"title", "description", "examples", "default", "deprecated", "readOnly", "writeOnly", "$comment"}
IDENTITY = {"$id", "$schema", "$defs", "$ref", "$anchor", "x-publisher"}
LOWER_BOUNDS = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"}
UPPER_BOUNDS = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"}
SUBSCHEMAS = {"items", "additionalProperties", "propertyNames", "contains", "unevaluatedProperties", "unevaluatedItems"}
JSON_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
EXTENSION = "x-"
"""What begins so says nothing about documents."""
COMPARED = {"type", "enum", "const", "required", "properties", "oneOf", "anyOf", "allOf"}


MOST_PAIRS: Final = 20_000
DEEPEST: Final = 100

Schema: TypeAlias = dict[str, Any]
Tree: TypeAlias = Mapping[str, Schema]
"""Schemas by their path."""
Effect: TypeAlias = Literal["adds", "narrows", "widens"]


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a schema file."""

    file: str
    pointer: str = ""

    def __truediv__(self, token: str | int) -> "Place":
        return Place(self.file, f"{self.pointer}/{str(token).replace('~', '~0').replace('/', '~1')}")

    def __str__(self) -> str:
        return f"{self.file}#{self.pointer}"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that documents can notice."""

    effect: Effect
    place: Place
    what: str


class Comparison:
    """Walks two versions of one schema side by side, through references, each pair of spots once."""

    def __init__(self, before: Tree, after: Tree) -> None:
        self._before = before
        self._after = after
        self._seen: set[tuple[str, str]] = set()
        self._gave_up = False

    def changes(self, file: str) -> list[Change]:
        return list(self._walk(self._before[file], self._after[file], Place(file), Place(file)))

    def _walk(self, old: Any, new: Any, was: Place, now: Place, depth: int = 0) -> Iterator[Change]:
        old_one, new_one = resolve(self._before, old, was), resolve(self._after, new, now)
        if old_one is None or new_one is None:
            if self._before != self._after:
                yield Change("narrows", now, "a reference that can't be followed stands in something that changed")
            return
        (old, was, old_key), (new, now, new_key) = old_one, new_one
        if (old_key, new_key) in self._seen or self._gave_up:
            return
        self._seen.add((old_key, new_key))
        if len(self._seen) > MOST_PAIRS or depth > DEEPEST:
            self._gave_up = True
            yield Change("narrows", now, "it is too large to be compared")
            return
        if old is False or new is False:
            if old is not new:
                yield (
                    Change("narrows", now, "nothing fits any more") if new is False else Change("widens", now, "opened")
                )
            return
        yield from self._values(old, new, now)
        yield from self._fields(old, new, was, now, depth)
        for keyword in sorted(SUBSCHEMAS & (old.keys() | new.keys())):
            yield from self._subschema(keyword, old.get(keyword, True), new.get(keyword, True), was, now, depth)
        for keyword in ("oneOf", "anyOf", "allOf"):
            yield from self._branches(keyword, old.get(keyword, []), new.get(keyword, []), was, now, depth)

    def _values(self, old: Schema, new: Schema, now: Place) -> Iterator[Change]:
        yield from set_changes(types(old), types(new), now / "type", "type")
        if old.get("enum", old.get("const")) is not None or new.get("enum", new.get("const")) is not None:
            keyword = "const" if "const" in new else "enum"
            yield from set_changes(allowed(old), allowed(new), now / keyword, "value")
        for keyword in sorted((old.keys() | new.keys()) - COMPARED - SUBSCHEMAS - ANNOTATIONS - IDENTITY):
            if keyword.startswith(EXTENSION):
                continue
            yield from keyword_changes(keyword, old.get(keyword), new.get(keyword), now / keyword)

    def _fields(self, old: Schema, new: Schema, was: Place, now: Place, depth: int) -> Iterator[Change]:
        for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
            yield Change("narrows", now / "required", f"`{name}` is newly required")
        for name in sorted(set(old.get("required", [])) - set(new.get("required", []))):
            yield Change("widens", now / "required", f"`{name}` is no longer required")
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in sorted(before.keys() - after.keys()):
            yield Change("narrows", now / "properties" / name, f"property `{name}` was removed or renamed")
        for name in sorted(after.keys() - before.keys()):
            yield Change("adds", now / "properties" / name, f"property `{name}` was added")
        for name in sorted(before.keys() & after.keys()):
            spots = (was / "properties" / name, now / "properties" / name)
            yield from self._walk(before[name], after[name], *spots, depth + 1)

    def _subschema(self, keyword: str, old: Any, new: Any, was: Place, now: Place, depth: int) -> Iterator[Change]:
        place = now / keyword
        if new is False and old is not False:
            yield Change("narrows", place, f"`{keyword}: false` was added")
        elif old is False and new is not False:
            yield Change("widens", place, f"`{keyword}: false` was taken away")
        else:
            yield from self._walk(old, new, was / keyword, place, depth + 1)

    def _branches(
        self, keyword: str, old: list[Any], new: list[Any], was: Place, now: Place, depth: int
    ) -> Iterator[Change]:
        place = now / keyword
        for index, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from self._walk(before, after, was / keyword / index, place / index, depth + 1)
        if len(old) == len(new):
            return
        first = not old or not new
        grew = len(new) > len(old)
        narrows = grew if first or keyword == "allOf" else not grew
        yield Change("narrows" if narrows else "widens", place, f"a branch was {'added' if grew else 'removed'}")


def resolve(tree: Tree, schema: Any, place: Place) -> tuple[Any, Place, str] | None:
    """Follow `$ref` to the schema meant, where it is written, and what tells it from others; None if that fails.

    `true` is the schema without rules. Rules beside a `$ref` are added to those that it leads to.
    """
    beside: Schema = {}
    written, followed = place, {str(place)}
    while isinstance(schema, dict) and "$ref" in schema:
        rules = {key: value for key, value in schema.items() if key not in ANNOTATIONS | IDENTITY}
        if rules.keys() & beside.keys():
            return None
        beside |= rules
        found = _target(tree, schema["$ref"], place)
        if found is None or str(found[1]) in followed:
            return None
        schema, place = found
        followed.add(str(place))
    if schema is True:
        schema = {}
    if not beside or schema is False:
        return schema, place, str(place)
    if beside.keys() & schema.keys():
        return None
    return {**schema, **beside}, written, f"{place} {json.dumps(beside, sort_keys=True)}"


def _target(tree: Tree, reference: str, place: Place) -> tuple[Any, Place] | None:
    file, _, fragment = reference.partition("#")
    target = place.file
    if file:
        parts: list[str] = []
        for part in (PurePosixPath(place.file).parent / file).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        target = "/".join(parts)
    schema: Any = tree.get(target)
    if schema is None or (fragment and not fragment.startswith("/")):
        return None
    for token in fragment.split("/")[1:]:
        key = unquote(token).replace("~1", "/").replace("~0", "~")
        try:
            schema = schema[int(key)] if isinstance(schema, list) else schema[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return schema, Place(target, fragment)


def types(schema: Schema) -> frozenset[str]:
    """JSON types the schema lets through; every number is meant by `number`, integers among them."""
    named = schema.get("type")
    if named is None:
        return JSON_TYPES
    listed = frozenset([named] if isinstance(named, str) else named)
    return listed | {"integer"} if "number" in listed else listed


def allowed(schema: Schema) -> frozenset[str] | None:
    """The listed values, as JSON texts; None if any value may stand there."""
    if "const" in schema:
        return frozenset({json.dumps(schema["const"], sort_keys=True)})
    return frozenset(json.dumps(value, sort_keys=True) for value in schema["enum"]) if "enum" in schema else None


def set_changes(old: frozenset[str] | None, new: frozenset[str] | None, place: Place, noun: str) -> Iterator[Change]:
    if old == new:
        return
    if old is None:
        yield Change("narrows", place, f"the {noun}s are limited now")
        return
    if new is None:
        yield Change("widens", place, f"the {noun}s are no longer limited")
        return
    if gone := sorted(old - new):
        yield Change("narrows", place, f"{noun} {', '.join(gone)} was removed")
    if come := sorted(new - old):
        yield Change("widens", place, f"{noun} {', '.join(come)} was added")


def keyword_changes(keyword: str, old: Any, new: Any, place: Place) -> Iterator[Change]:
    """Bounds have a direction; of any other keyword only "came" and "went" can be told, and a change counts as both."""
    if old == new:
        return
    if isinstance(old, int | float) and isinstance(new, int | float) and keyword in LOWER_BOUNDS | UPPER_BOUNDS:
        narrows = new > old if keyword in LOWER_BOUNDS else new < old
        yield Change("narrows" if narrows else "widens", place, f"`{keyword}` went from {old} to {new}")
    elif keyword == "uniqueItems":
        yield Change("narrows" if new else "widens", place, f"`uniqueItems` went from {old} to {new}")
    elif old is None:
        yield Change("narrows", place, f"`{keyword}` was added")
    elif new is None:
        yield Change("widens", place, f"`{keyword}` was removed")
    else:
        yield Change("narrows", place, f"`{keyword}` changed")
