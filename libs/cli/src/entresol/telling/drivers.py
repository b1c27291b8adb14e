"""How the contract of a driver reads: a line for each field."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from entresol.terminal import clean, table

Document = Mapping[str, Any]

DEEPEST = 6
_WORDS = {"object": "map", "array": "list", "string": "text", "integer": "whole number", "boolean": "true or false"}


def draw(driver: Document) -> Iterator[RenderableType]:
    """What it does, what its steps take, what they give."""
    yield Text(clean(f"{driver['name']}: {driver.get('summary') or 'it does not say what it does'}"))
    if not driver["available"]:
        yield Text("it can't work where provisioning runs: a program is missing there", style="yellow")
    yield Text()
    if (settings := driver.get("settings")) is None:
        yield Text("it does not say what its steps take; nothing of their `with` is checked beforehand")
    else:
        yield table("with", "what it is", rows=_rows(settings, {}))
        for line in _choices(settings):
            yield Text(clean(line))
    yield Text()
    if (outputs := driver.get("outputs")) is None:
        yield Text("outputs: what its steps give depends on the step; declare it there")
    else:
        yield table("output", "what it is", rows=_rows(outputs, {}))


def _rows(schema: Document, told: dict[tuple[str, ...], str], place: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Each field, those within it indented below it; fields that were told already are only referred to."""
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        if not isinstance(each, Mapping):
            continue
        here = (*place, name)
        inner = tuple(sorted(each.get("properties", ())))
        known = told.setdefault(inner, ".".join(here)) if inner else ""
        again = f" Its fields are those of {known}." if known not in ("", ".".join(here)) else ""
        needed = ", required" if name in required else ""
        yield f"{'  ' * len(place)}{name}", f"{_kind(each)}{needed}: {_said(each)}{again}".rstrip(": ")
        if inner and not again and len(place) < DEEPEST:
            yield from _rows(each, told, here)


def _said(schema: Document) -> str:
    default = schema.get("default")
    after = "" if default in (None, "", [], {}) else f" Default: {_value(default)}."
    return f"{schema.get('description', '')}{after}".strip()


def _kind(schema: Document) -> str:
    if "enum" in schema:
        return " or ".join(_value(each) for each in schema["enum"])
    if "const" in schema:
        return _value(schema["const"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(each) for each in schema["anyOf"]))
    if schema.get("format") == "cel":
        return "expression"
    named = schema.get("type", "anything")
    types = [named] if isinstance(named, str) else [each for each in named if each != "null"]
    words = " or ".join(_WORDS.get(each, each) for each in types)
    inner = schema.get("items" if "array" in types else "additionalProperties")
    if isinstance(inner, Mapping) and inner and len(types) == 1:
        return f"{words} of {_kind(inner)}"
    return words


def _choices(schema: Document) -> Iterator[str]:
    names = [each["required"] for each in schema.get("oneOf", ()) if isinstance(each, Mapping) and "required" in each]
    if names:
        yield f"exactly one of {' and '.join(name for each in names for name in each)}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
