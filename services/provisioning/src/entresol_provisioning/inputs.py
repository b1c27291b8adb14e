"""What a resource's inputs become: what is asked for over what it has, as the version takes it.

The door sees only what is asked for. An update may bring the resource to another version, so what comes of both is held
against that version here: nothing is made of inputs that it does not take.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from entresol_manifests.schemas import differences, validator

from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import Request, Resource, effective_inputs

MOST_NAMED: Final = 5
UPDATE: Final = "update"


def resulting(request: Request, offering: Offering | None, there: Resource | None) -> dict[str, Any]:
    """What the steps see.

    An update fills in the version's defaults, and leaves out what the version does not know any more.
    Raises Impossible, without a value, if what comes of it is not what the version takes.
    """
    merged = effective_inputs(request.action, request.inputs, None if there is None else there.inputs)
    if offering is None or request.action != UPDATE or "inputs" in offering.spec["actions"].get(UPDATE, {}):
        return merged
    schema: Mapping[str, Any] = offering.spec.get("inputs", {})
    whole = _filled(schema, {name: value for name, value in merged.items() if _knows(schema, name)})
    wrong = differences(whole, schema, validator(schema, formats=False))
    found = [f"{one.pointer} {one.message}".strip() for one in wrong]
    if found:
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise Impossible(
            f"its inputs are not what {offering.name} {offering.version} takes: {', '.join(found[:MOST_NAMED])}{more}; "
            "give them with the update"
        )
    return whole


def _knows(schema: Mapping[str, Any], name: str) -> bool:
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    return not closed or name in schema.get("properties", {})


def _filled(schema: Mapping[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    declared = schema.get("properties", {}).items()
    defaults = {name: one["default"] for name, one in declared if isinstance(one, Mapping) and "default" in one}
    return {**{name: deepcopy(value) for name, value in defaults.items() if name not in inputs}, **inputs}
