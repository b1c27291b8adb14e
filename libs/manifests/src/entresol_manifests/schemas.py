"""JSON Schema, for two uses: manifests against the schema of their kind, and the input schemas inside offerings.

A schema never makes a reader fetch anything: references lead only within the schema itself.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeAlias

import jsonschema_rs

from entresol_manifests.findings import Finding, meant
from entresol_manifests.paths import is_harmless
from entresol_manifests.pointers import child, join

Validator: TypeAlias = jsonschema_rs.Draft202012Validator
KINDS: Final = (
    "Blueprint",
    "Channel",
    "Destination",
    "Entity",
    "Offering",
    "Policy",
    "Quota",
    "Route",
    "Scorecard",
    "Source",
    "Trigger",
    "Window",
)
DEEPEST: Final = 50
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MOST_FINDINGS: Final = 50

_PATTERNS: Final[Mapping[str, str]] = {
    "^[a-z0-9](": "must be lower-case letters, digits and hyphens, at most 63",
    "^([0-9]+(ms|": "must be a duration such as 90s, 4h, 5d or 1d12h",
    "^(env:": "must be a reference to a secret, env:NAME or file:/PATH, never the secret itself",
    "^(0|[1-9]": "must be a version such as 1.2.0",
    "^(user|group|": "must be user:NAME, group:NAME, or ci:, service:, system: or trigger: and a name",
    "^[\\p{L}": "must be letters, digits and any of @ _ . + : \\ / = -",
    "^https?://": "must be a URL that begins with https:// or http://",
    "^[A-Za-z0-9][A-Za-z0-9._/": "must be the name of a branch or a tag",
    "^[A-Za-z0-9][A-Za-z0-9_.": "must be the name of a template; URLs can't be named here",
    "^[a-z0-9][": "must be a repository's name: lower-case letters, digits, dots and dashes; a URL needs a Destination",
}
TYPES_IN_WORDS: Final[Mapping[str, str]] = {
    "object": "a map",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
EVERY_TYPE: Final = frozenset(TYPES_IN_WORDS)
_RELATIVE: Final = "must be a relative path, without .., .git, and names that begin with a dash"
_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "must be a time with its zone, such as 2026-11-21T10:00:00Z",
    "json-pointer": "must be a JSON pointer, such as /status/address",
    "relative-path": _RELATIVE,
    "relative-folder": _RELATIVE,
}
_CHECKS: Final[dict[str, Callable[[str], bool]]] = {
    "relative-path": is_harmless,
    "relative-folder": lambda text: not text.strip("/") or is_harmless(text.strip("/")),
}
"""Of the formats that the dialect does not know. A folder may have slashes around it, and be the root."""
_KIND = jsonschema_rs.ValidationErrorKind
_LIMITS: Final[Mapping[type, str]] = {
    _KIND.Minimum: "be at least {}",
    _KIND.Maximum: "be at most {}",
    _KIND.ExclusiveMinimum: "be more than {}",
    _KIND.ExclusiveMaximum: "be less than {}",
    _KIND.MinLength: "have at least {} character",
    _KIND.MaxLength: "have at most {} character",
    _KIND.MinItems: "have at least {} item",
    _KIND.MaxItems: "have at most {} item",
    _KIND.MinProperties: "have at least {} field",
    _KIND.MaxProperties: "have at most {} field",
}
_OWN_WORDS: Final = "errorMessage"
"""Keyword beside others in a schema: what is told where one of them, but for the type, does not hold."""
_WEIGHING = (_KIND.OneOfNotValid, _KIND.OneOfMultipleValid, _KIND.AnyOf, _KIND.Not)


class SchemaError(ValueError):
    """Why a schema is not usable; the pointer says where in the schema."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.message, self.pointer = message, pointer


def validator(schema: Mapping[str, Any], *, formats: bool = True) -> Validator:
    """A validator of JSON Schema 2020-12 that fetches nothing and matches patterns in linear time.

    Without `formats` they are only notes, as the dialect has it, and as the door reads the inputs of a request.
    Raises SchemaError for a schema that is not valid, or needs more than that.
    """
    declared = schema.get("$schema", DIALECT)
    if not isinstance(declared, str) or declared.rstrip("#") != DIALECT:
        raise SchemaError(f"only {DIALECT} is understood", "/$schema")
    try:
        jsonschema_rs.meta.validate({**schema, "$schema": DIALECT})
        return jsonschema_rs.Draft202012Validator(
            dict(schema),
            validate_formats=formats,
            formats=_CHECKS,
            offline=True,
            mask="it",
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except jsonschema_rs.ValidationError as error:
        pointer = join(error.instance_path)
        text = error.message.partition("\n")[0]
        raise SchemaError(f"not a JSON Schema: {text[:200]}", pointer) from None
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise SchemaError(f"not a usable JSON Schema: {str(error)[:200]}") from None


def violations(kind: str, document: Mapping[str, Any]) -> list[Finding]:
    """Everything in which the manifest differs from the schema of its kind, at most 50 things."""
    return differences(document, *_of_kind(kind))


def differences(document: Any, schema: Mapping[str, Any], check: Validator) -> list[Finding]:
    """The same for any document: in what it differs from the schema, which is that of the validator."""
    found: list[Finding] = []
    for error in check.iter_errors(document):
        found += _told(error, schema)
        if len(found) >= MOST_FINDINGS:
            break
    return sorted(set(found[:MOST_FINDINGS]), key=lambda finding: finding.pointer)


@cache
def _of_kind(kind: str) -> tuple[dict[str, Any], Validator]:
    text = files("entresol_contracts").joinpath(f"schemas/manifests/{kind.lower()}.v1.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema, validator(schema)


def in_words(types: Iterable[str]) -> str:
    """The JSON types, for people."""
    return " or ".join(words for name, words in TYPES_IN_WORDS.items() if name in set(types))


def types_at(schema: Any, path: Sequence[str], root: Mapping[str, Any] | None = None, depth: int = 0) -> frozenset[str]:
    """The JSON types that the schema allows at a place in what fits it, at least; all where it can't be told.

    None of them, if what fits has no such place.
    """
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return EVERY_TYPE
    root = schema if root is None else root
    found = EVERY_TYPE
    if "$ref" in schema:
        found &= types_at(_target(root, schema["$ref"]), path, root, depth + 1)
    if path:
        if own := frozenset(_listed(schema)):
            found &= EVERY_TYPE if own & {"object", "array"} else frozenset()
        found &= types_at(_member(schema, path[0]), path[1:], root, depth + 1)
    else:
        found &= frozenset(_listed(schema)) or EVERY_TYPE
        if (options := [schema["const"]] if "const" in schema else schema.get("enum")) is not None:
            found &= frozenset(_type_of(each) for each in options)
    for each in schema.get("allOf", ()):
        found &= types_at(each, path, root, depth + 1)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            found &= frozenset().union(*(types_at(each, path, root, depth + 1) for each in schema[key]))
    return found


def _listed(schema: Mapping[str, Any]) -> list[str]:
    named = schema.get("type", [])
    return [named] if isinstance(named, str) else list(named)


def _member(schema: Mapping[str, Any], name: str) -> Any:
    """The schema of a member; True if any would fit."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    if name in properties:
        return properties[name]
    if "patternProperties" in schema:
        return True
    if name.isdecimal() and not properties and "object" not in _listed(schema):
        first: Sequence[Any] = schema.get("prefixItems", ())
        return first[int(name)] if int(name) < len(first) else schema.get("items", True)
    return schema.get("additionalProperties", True)


def _target(root: Mapping[str, Any], reference: str) -> Any:
    target: Any = root
    for part in reference.removeprefix("#").split("/")[1:] if reference.startswith("#/") else ("",):
        try:
            target = target[part.replace("~1", "/").replace("~0", "~")]
        except (KeyError, TypeError):
            return True
    return target


def _type_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def _told(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> Iterator[Finding]:
    pointer, kind = join(error.instance_path), error.kind
    if own := _own_words(error, schema):
        yield Finding(pointer, own)
    elif isinstance(kind, _KIND.AdditionalProperties | _KIND.UnevaluatedProperties):
        known = _known_fields(schema, error.schema_path)
        for name in kind.unexpected:
            yield Finding(child(pointer, name), f"unknown field {name}{meant(name, known)}")
    elif isinstance(kind, _KIND.Required):
        yield Finding(child(pointer, kind.property), f"{kind.property} is missing")
    elif isinstance(kind, _KIND.Type):
        told = f"must be {' or '.join(TYPES_IN_WORDS.get(each, each) for each in kind.types)}"
        unquoted = kind.types == ["string"] and isinstance(error.instance, int | float)
        yield Finding(pointer, f"{told}; put it in quotes" if unquoted else told)
    elif isinstance(kind, _KIND.Enum):
        yield Finding(pointer, f"must be one of {', '.join(map(str, kind.options))}")
    elif isinstance(kind, _KIND.Constant):
        yield Finding(pointer, f"must be {kind.expected_value}")
    elif isinstance(kind, _KIND.Pattern):
        text = next((text for start, text in _PATTERNS.items() if kind.pattern.startswith(start)), None)
        yield Finding(pointer, text or f"must match {kind.pattern}")
    elif isinstance(kind, _KIND.Format):
        yield Finding(pointer, _FORMATS.get(kind.format, f"must be a {kind.format}"))
    elif (limit := getattr(kind, "limit", None)) is not None and type(kind) in _LIMITS:
        told = f"must {_LIMITS[type(kind)].format(limit)}"
        counts = told[-1].isalpha() and limit != 1
        yield Finding(pointer, f"{told}s" if counts else told)
    elif isinstance(kind, _KIND.PropertyNames):
        named = child(pointer, str(kind.error.instance))
        yield from (Finding(named, f"its name {each.message}") for each in _told(kind.error, schema))
    elif choice := _keys_only(error, schema):
        several = isinstance(kind, _KIND.OneOfMultipleValid | _KIND.Not)
        told = f"has both {' and '.join(choice)}; keep one" if several else f"needs {' or '.join(choice)}"
        yield Finding(pointer, told)
    elif isinstance(kind, _KIND.OneOfNotValid | _KIND.AnyOf):
        place = error.instance_path
        if types := _other_types(kind.context, place):
            yield Finding(pointer, f"must be {' or '.join(TYPES_IN_WORDS.get(each, each) for each in types)}")
            return
        for each in min(kind.context, key=lambda errors: _strangeness(errors, place), default=[]):
            yield from _told(each, schema)
    else:
        yield Finding(pointer, error.message[:200])


def _own_words(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> str | None:
    """What the schema itself wants to be told."""
    if isinstance(error.kind, _KIND.Type | _KIND.PropertyNames):
        return None
    said = _at(schema, error.schema_path[:-1])
    own = said.get(_OWN_WORDS) if isinstance(said, dict) else None
    return own if isinstance(own, str) else None


def _keys_only(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> list[str]:
    """The fields that the schema weighs against each other, if that is all that it does at the place of the error."""
    said = _at(schema, error.schema_path) if isinstance(error.kind, _WEIGHING) else []
    branches = said if isinstance(said, list) else [said]
    if not all(isinstance(each, dict) and each.keys() == {"required"} for each in branches):
        return []
    return list(dict.fromkeys(name for each in branches for name in each["required"]))


def _other_types(branches: list[list[jsonschema_rs.ValidationError]], place: list[str | int]) -> list[str]:
    """The types that the branches want, if the value is of none of them."""
    types: dict[str, None] = {}
    for errors in branches:
        wanted = [
            each.kind.types for each in errors if isinstance(each.kind, _KIND.Type) and each.instance_path == place
        ]
        if not wanted:
            return []
        types |= dict.fromkeys(wanted[0])
    return list(types)


def _strangeness(errors: list[jsonschema_rs.ValidationError], place: list[str | int]) -> int:
    """How unlike a branch of a `oneOf` the value is: its author meant the branch it is most like."""
    points = 0
    for error in errors:
        kind = error.kind
        if isinstance(kind, _KIND.Constant):
            points += 100
        elif isinstance(kind, _KIND.AdditionalProperties):
            points += 3 * len(kind.unexpected)
        elif isinstance(kind, _KIND.Type) and error.instance_path == place:
            points += 100
        else:
            points += 3 if isinstance(kind, _KIND.Required) else 1
    return points


def _known_fields(schema: Any, path: list[str | int]) -> list[str]:
    said = _at(schema, path[:-1])
    return list(said.get("properties", ())) if isinstance(said, dict) else []


def _at(schema: Any, path: Iterable[str | int]) -> Any:
    """What is at that place of a schema; None if it is behind a reference."""
    for key in path:
        try:
            schema = schema[key]
        except (KeyError, IndexError, TypeError):
            return None
    return schema
