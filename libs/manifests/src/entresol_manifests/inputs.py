"""What a resource's inputs become by a request: what is asked for over what it has, as the version takes it.

Who judges a request and who carries it out both ask here, so what is judged is what is done.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

WHOLE: Final = frozenset({"create", "adopt", "rollback"})
"""Actions whose inputs are all that the resource will have, however it is."""
UPDATE: Final = "update"


def resulting(
    action: str, asked: Mapping[str, Any], existing: Mapping[str, Any] | None, spec: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The inputs that the steps of the action see.

    `existing`: those of the resource; None if there is none. `spec`: of the offering's version; None if it is unknown.
    An update fills in the version's defaults, and leaves out what the version does not know any more. Whether what
    comes of it is what the version takes is not looked at.
    """
    merged = dict(asked) if action in WHOLE or existing is None else {**existing, **asked}
    if spec is None or action != UPDATE or "inputs" in spec["actions"].get(UPDATE, {}):
        return merged
    schema: Mapping[str, Any] = spec.get("inputs", {})
    return _filled(schema, {name: value for name, value in merged.items() if _knows(schema, name)})


def _knows(schema: Mapping[str, Any], name: str) -> bool:
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    return not closed or name in schema.get("properties", {})


def _filled(schema: Mapping[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    declared = schema.get("properties", {}).items()
    defaults = {name: one["default"] for name, one in declared if isinstance(one, Mapping) and "default" in one}
    return {**{name: deepcopy(value) for name, value in defaults.items() if name not in inputs}, **inputs}
