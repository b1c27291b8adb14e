"""Where a schema is written, and where its references lead: within the schemas given, and nowhere else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

ANNOTATIONS: Final = {
    "title",
    "description",
    "examples",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
}
IDENTITY: Final = {"$id", "$schema", "$defs", "$ref", "$anchor", "x-publisher"}

Schema: TypeAlias = dict[str, Any]
Tree: TypeAlias = Mapping[str, Schema]
"""Schemas by their path."""


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a schema file."""

    file: str
    pointer: str = ""

    def __truediv__(self, token: str | int) -> "Place":
        return Place(self.file, f"{self.pointer}/{str(token).replace('~', '~0').replace('/', '~1')}")

    def __str__(self) -> str:
        return f"{self.file}#{self.pointer}"


Spot: TypeAlias = tuple[Any, Place]
"""A schema, and where it is."""


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
    if isinstance(schema, dict) and "$dynamicRef" in schema:
        return None
    if not beside or schema is False:
        return schema, place, str(place)
    key = f"{place} {json.dumps(beside, sort_keys=True)}"
    if not beside.keys() & schema.keys():
        return {**schema, **beside}, written, key
    return ({"allOf": [schema, beside]}, written, key) if place.file == written.file else None


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
