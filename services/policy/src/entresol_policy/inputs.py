"""The inputs that a request is judged by: those that its steps will see.

They depend on what the resource has, and that may change until the request begins. Therefore a decision names them by
their digest, or the plan whose digest covers them; provisioning begins with no others.
"""

from collections.abc import Mapping
from typing import Any

from entresol_contracts.events import RequestSubmitted, RunPlanned
from entresol_manifests.digest import digest
from entresol_manifests.inputs import WHOLE, resulting
from sqlmodel import Session

from entresol_policy.store import books, shares


def judged(session: Session, request: RequestSubmitted, plan: RunPlanned | None) -> Mapping[str, Any]:
    """As the plan says; before there is one, as far as policy knows the resource and the offering's version."""
    if request.action in WHOLE:
        return request.inputs
    if plan is not None and plan.inputs is not None:
        return plan.inputs
    known = shares.find_resource(session, request.resource_id)
    spec = books.find_offering(session, request.offering, request.offering_version)
    return resulting(request.action, request.inputs, None if known is None else known["inputs"], spec)


def digest_of(request: RequestSubmitted, plan: RunPlanned | None, inputs: Mapping[str, Any]) -> str | None:
    """None if they can't become others, or the plan covers them."""
    covered = request.action in WHOLE or (plan is not None and plan.inputs is not None)
    return None if covered else digest(inputs)
