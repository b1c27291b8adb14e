"""What the expressions and templates of an offering may name, built from a request and what has been done so far.

They are guarded as those of policies are: what a harmless one takes depends on the inputs that a request brings.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from entresol_manifests.expressions import ExpressionError, Scope
from entresol_manifests.guard import Guard
from entresol_manifests.placeholders import interpolate, placeholders

from entresol_provisioning.domain.offering import REQUIRES
from entresol_provisioning.domain.requests import Request, Resource

VERBATIM = ("/files",)
"""Inlined files have `${…}` of their own."""


def variables(
    request: Request,
    resource: Resource | None,
    outputs: Mapping[str, Mapping[str, Any]],
    capabilities: Mapping[str, bool],
) -> dict[str, Any]:
    """`outputs` are those of the steps that are done, by step. A resource keeps its class, whatever a request says."""
    there = resource is not None and resource.exists
    return {
        "request": {
            "id": request.id,
            "offering": request.offering,
            "version": request.offering_version,
            "action": request.action,
            "project": request.project,
            "environment": request.environment,
            "name": request.name,
            "inputs": request.inputs,
            "resource": request.resource_id,
            "dry_run": request.dry_run,
            "lifetime_seconds": request.lifetime_seconds,
            "reason": request.reason,
            "class": resource.class_ if there and resource is not None else request.class_,
        },
        "inputs": request.inputs if request.effective is None else request.effective,
        "actor": request.actor,
        "environment": request.environment,
        "resource": {
            "id": request.resource_id,
            "project": request.project,
            "environment": request.environment,
            "offering": request.offering,
            "name": request.name,
            "inputs": resource.inputs if there and resource is not None else {},
            "outputs": resource.outputs if there and resource is not None else {},
        },
        "steps": {name: {"outputs": dict(one)} for name, one in outputs.items() if not name.startswith(REQUIRES)},
        "requires": {
            name.removeprefix(REQUIRES): {"outputs": dict(one)}
            for name, one in outputs.items()
            if name.startswith(REQUIRES)
        },
        "capabilities": dict(capabilities),
    }


def is_fixed(value: Any) -> bool:
    """Whether nothing in it has to be evaluated. Raises ExpressionError for a placeholder without an end."""
    return next(placeholders(value, verbatim=VERBATIM), None) is None


def filled(value: Any, scope: Mapping[str, Any]) -> Any:
    """The value with its placeholders evaluated; raise ExpressionError that names the place."""
    if is_fixed(value):
        return interpolate(value, _NOTHING, verbatim=VERBATIM)
    try:
        return interpolate(value, Scope(**scope), verbatim=VERBATIM, evaluate=guard().evaluate)
    except ExpressionError as error:
        raise ExpressionError(f"{error.pointer}: {error.message}" if error.pointer else error.message) from None


@cache
def guard() -> Guard:
    """Of every expression of every offering."""
    return Guard()


_NOTHING = Scope()
