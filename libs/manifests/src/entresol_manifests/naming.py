"""What the expressions of a manifest may name, checked as far as it can be known before they run."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from entresol_contracts import EVENT_TYPES

from entresol_manifests.expressions import Expression, ExpressionError, compile_expression
from entresol_manifests.findings import Finding, meant
from entresol_manifests.functions import CATALOG
from entresol_manifests.placeholders import placeholders
from entresol_manifests.sources import UnclosedError, code

REQUEST: Final = frozenset(
    {"id", "offering", "version", "action", "project", "environment", "name", "inputs", "resource", "dry_run"}
    | {"lifetime_seconds", "reason", "class"}
)
ACTOR: Final = frozenset({"id", "groups"})
RESOURCE: Final = frozenset({"id", "project", "environment", "offering", "name", "outputs", "inputs"})

Fields = Mapping[str, Collection[str] | None]
"""By variable, which fields it has; None where that is not known."""

REQUEST_OF_POLICY: Final = REQUEST | {"asked", "trigger", "break_glass", "orphan", "snapshot", "requirement"}
CATALOG_FIELDS: Final[Fields] = {"catalog": frozenset()}
"""It has methods only."""
POLICY: Final[Fields] = {
    "request": REQUEST_OF_POLICY,
    "actor": ACTOR,
    "now": None,
    "plan": frozenset({"adds", "changes", "destroys", "cost", "unknown", "resources", "digest", "steps"}),
    **CATALOG_FIELDS,
}
BEFORE_PLAN: Final[Fields] = {name: fields for name, fields in POLICY.items() if name != "plan"}
"""What says which requests something is about; that is known before there is a plan."""
QUOTA: Final[Fields] = {
    "resource": frozenset({"id", "project", "environment", "offering", "version", "name", "inputs", "owner"}),
    **CATALOG_FIELDS,
}
SCORECARD: Final[Fields] = {
    "entity": frozenset({"identifier", "title", "team", "properties", "relations", "blueprint"})
}
COST: Final[Fields] = {"inputs": None, "environment": None, "actor": ACTOR, "request": REQUEST}
OFFERING: Final[Fields] = {
    "request": REQUEST,
    "inputs": None,
    "actor": ACTOR,
    "environment": None,
    "resource": RESOURCE,
    "steps": None,
    "requires": None,
    "capabilities": None,
}
REQUIREMENT: Final[Fields] = {name: fields for name, fields in OFFERING.items() if name not in ("steps", "requires")}
"""What an offering requires is there before its first step, and all of it is asked for at once."""
HINT: Final[Fields] = {"resource": RESOURCE}
"""Beside the event, what says whether a resource is looked at because of it."""

_MEMBER = re.compile(r"(?<![\w.])([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)+)(\s*\()?")
_METHOD = re.compile(rf"(\bcatalog\s*\.\s*)?\b({'|'.join(sorted(CATALOG))})\s*\(")
_HYPHEN = re.compile(r"(?<![\w.])(steps|requires)\.([A-Za-z_]\w*(?:-\w+)+)")
_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def event_fields(types: Iterable[str]) -> Fields:
    """What `event` holds if it is of one of these types: `event.data` has the fields of any of them."""
    models = [known.model for known in EVENT_TYPES if known.type in set(types)]
    data = {field.alias or name for model in models for name, field in model.model_fields.items()}
    return {"event": None, "event.data": data}


def check_expression(source: Any, pointer: str, fields: Fields) -> Iterator[Finding]:
    """What is wrong with one expression."""
    try:
        expression = compile_expression(source)
    except ExpressionError as error:
        yield Finding(pointer, error.message)
    else:
        yield from _unknown_names(expression, pointer, fields)


def check_placeholders(value: Any, pointer: str, fields: Fields, verbatim: Collection[str] = ()) -> Iterator[Finding]:
    """What is wrong with the `${…}` in a value."""
    try:
        found = list(placeholders(value, verbatim=verbatim))
    except ExpressionError as error:
        yield Finding(pointer + error.pointer, error.message)
        return
    for place, source in found:
        yield from check_expression(source, pointer + place, fields)


def is_slug(text: str) -> bool:
    """Whether it is a name as most things have it: lower-case letters, digits and hyphens, at most 63."""
    return _SLUG.fullmatch(text) is not None


def _unknown_names(expression: Expression, pointer: str, fields: Fields) -> Iterator[Finding]:
    source = expression.source
    variables = {name for name in fields if "." not in name}
    if used := sorted(expression.calls & CATALOG):
        if "catalog" not in fields:
            yield Finding(pointer, f"`{source}` calls {used[0]}(), but there is no catalog here")
        elif wrong := next((found[2] for found in _in_code(_METHOD, source) if found[1] is None), None):
            yield Finding(pointer, f"`{source}` calls {wrong}(); write catalog.{wrong}(blueprint, identifier)")
    for name in sorted(expression.names() - variables):
        hyphened = _HYPHEN.search(source)
        hint = f'; write {hyphened[1]}["{hyphened[2]}"]' if hyphened and name in hyphened[2].split("-") else ""
        known = ", ".join(sorted(variables))
        yield Finding(pointer, f"`{source}` names {name}, but there is only {known}{hint or meant(name, variables)}")
    for found in _in_code(_MEMBER, source):
        path = found[1]
        members = found[2].split(".")[1:]
        for member in members[: -1 if found[3] else None]:
            known_fields = fields.get(path)
            if known_fields is not None and member not in known_fields:
                hint = meant(member, known_fields)
                yield Finding(pointer, f"`{source}` reads {path}.{member}, which does not exist{hint}")
                break
            path = f"{path}.{member}"


def _in_code(pattern: re.Pattern[str], source: str) -> Iterator[re.Match[str]]:
    """Matches that do not begin inside a string literal."""
    try:
        places = {place for place, _ in code(source)}
    except UnclosedError:
        return
    yield from (found for found in pattern.finditer(source) if found.start() in places)
