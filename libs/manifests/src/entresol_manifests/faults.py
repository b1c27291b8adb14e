"""Say in plain words why an expression failed: which field is missing, which types don't fit.

The engine names at most the last field (`KeyError: 'size'`) and never says which value was null. The paths in the
source are walked through the variables again to find out. Messages name places and types, never values.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from entresol_manifests.functions import CATALOG, NATIVE, OWN
from entresol_manifests.sources import code

_PATH = re.compile(
    r"""(?<![\w.)\]"'])([A-Za-z_]\w*)((?:\s*\.\s*[A-Za-z_]\w*(?!\w|\s*\()|\[\s*(?:"[^"\\]*"|'[^'\\]*'|\d+)\s*\])*)"""
)
_MEMBER = re.compile(r"""\.\s*([A-Za-z_]\w*)|\[\s*(?:"([^"]*)"|'([^']*)'|(\d+))\s*\]""")
_ENTITY = re.compile(r"\bcatalog\s*\.\s*entity\s*(?=\()")
_UNDEFINED = re.compile(r"Undefined variable or function: '([^']*)'")
_REFUSED = re.compile(r"Function '([^']*)' error")
_OPERANDS = re.compile(r"Unsupported operation: ([^.]*)\.")

_PLAIN_KEY = re.compile(r"""\["([A-Za-z_]\w*)"\]""")

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    (list, "a list"),
    (Mapping, "a map"),
    (type(None), "null"),
)


class Fault(NamedTuple):
    """Why an evaluation failed."""

    reason: str
    missing: str | None = None
    """The dotted path of the field that was not there, if that is why and it is known."""


def kind_of(value: object) -> str:
    """What to call the type of a value in a message."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), type(value).__name__)


def explain(error: BaseException, source: str, variables: Mapping[str, Any]) -> Fault:
    """One sentence about why evaluating `source` failed, and the field that was missing."""
    if isinstance(error, KeyError):
        return _missing(str(error.args[0]), source, variables)
    return Fault(_reason(error, source, variables))


def _reason(error: BaseException, source: str, variables: Mapping[str, Any]) -> str:
    text = str(error)
    if isinstance(error, TypeError):
        return _unfit(text, source, variables)
    if isinstance(error, ZeroDivisionError):
        return "it divides by zero"
    if isinstance(error, IndexError):
        return "it asks for an item that the list does not have"
    if isinstance(error, OverflowError):
        return "a number leaves the range of 64 bits"
    if undefined := _UNDEFINED.search(text):
        return _undefined(undefined[1], variables)
    if refused := _REFUSED.search(text):
        return f"`{refused[1]}` refuses its argument"
    return "the expression engine failed on it"


def _undefined(name: str, variables: Mapping[str, Any]) -> str:
    if name in CATALOG:
        return f"`catalog.{name}` is not known here"
    if name in NATIVE or name in OWN:
        return f"`{name}` does not take arguments of these types, or not as many"
    return f"`{name}` is not known here; there are {', '.join(sorted(variables)) or 'no variables'}"


def _missing(name: str, source: str, variables: Mapping[str, Any]) -> Fault:
    for path, holder, key in _walks(source, variables):
        if key == name and isinstance(holder, Mapping) and key not in holder:
            return _absent(path, key)
    for path, key in _steps_from_entities(source):
        if key == name:
            return _absent(path, key)
    return Fault(f"a field `{name}` is missing")


def _absent(path: str, key: str) -> Fault:
    test = f'"{key}" in {path.rpartition("[")[0]}' if path.endswith("]") else f"has({path})"
    return Fault(f"`{path}` is missing; test for it with {test}", _PLAIN_KEY.sub(r".\1", path))


def _unfit(text: str, source: str, variables: Mapping[str, Any]) -> str:
    for path, holder, key in _walks(source, variables):
        if not isinstance(holder, Mapping | list) or (isinstance(holder, list) and not key.isdecimal()):
            return f"`{path[: path.rindex(key)].rstrip('.[')}` is {kind_of(holder)} and has no `{key}`"
    remedy = "types are never converted; use int(), double() or string()"
    if operands := _OPERANDS.search(text):
        return f"{operands[1]} does not fit: {remedy}"
    return f"types do not fit an operator in it: {remedy}"


def _walks(source: str, variables: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Each step of each path in the source: the path so far, what holds the member, the member's name."""
    for found in _PATH.finditer(source):
        if found[1] not in variables:
            continue
        path, here = found[1], variables[found[1]]
        for member in _MEMBER.finditer(found[2]):
            key = _key(member)
            path += f".{key}" if member[1] else f"[{key}]" if member[4] else f'["{key}"]'
            yield path, here, key
            if isinstance(here, Mapping) and key in here:
                here = here[key]
            elif isinstance(here, list) and key.isdecimal() and int(key) < len(here):
                here = here[int(key)]
            else:
                break


def _steps_from_entities(source: str) -> Iterator[tuple[str, str]]:
    """Each step of each path that begins at an entity of the catalog: the path so far, the member's name."""
    brackets = [(place, character) for place, character in code(source) if character in "()"]
    for found in _ENTITY.finditer(source):
        depth, end = 0, len(source)
        for place, character in brackets:
            if place >= found.end():
                depth += 1 if character == "(" else -1
                if depth == 0:
                    end = place + 1
                    break
        while member := _MEMBER.match(source, end):
            end = member.end()
            yield source[found.start() : end], _key(member)


def _key(member: re.Match[str]) -> str:
    return next(part for part in member.groups() if part is not None)
