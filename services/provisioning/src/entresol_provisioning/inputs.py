"""What a resource's inputs become, held against the version that is to take them.

The door sees only what is asked for. An update may bring the resource to another version, so nothing is made of inputs
that this version does not take.
"""

from collections.abc import Mapping
from typing import Any, Final

from entresol_manifests import inputs
from entresol_manifests.schemas import differences, validator

from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import Request, Resource

MOST_NAMED: Final = 5


def resulting(request: Request, offering: Offering | None, there: Resource | None) -> dict[str, Any]:
    """What the steps see. Raises Impossible, without a value, if it is not what the version takes."""
    spec = None if offering is None else offering.spec
    whole = inputs.resulting(request.action, request.inputs, None if there is None else there.inputs, spec)
    if offering is None or request.action != inputs.UPDATE or "inputs" in offering.spec["actions"].get("update", {}):
        return whole
    schema: Mapping[str, Any] = offering.spec.get("inputs", {})
    wrong = differences(whole, schema, validator(schema, formats=False))
    found = [f"{one.pointer} {one.message}".strip() for one in wrong]
    if found:
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise Impossible(
            f"its inputs are not what {offering.name} {offering.version} takes: {', '.join(found[:MOST_NAMED])}{more}; "
            "give them with the update"
        )
    return whole
