"""What a run requires becomes a request, by the same rules as if the one whose run it is had asked."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from entresol_contracts.events import Requirement, RequirementRefused, RequirementRequested
from entresol_eventing.reactions import Emit
from sqlmodel import Session

from entresol_intake.domain.asks import BEGINNINGS, MAX_REQUEST_ID, Ask, read_ask
from entresol_intake.domain.faults import Fault, Invalid
from entresol_intake.offerings import Fitting
from entresol_intake.shelf import Shelf
from entresol_intake.store import request_of, version_of
from entresol_intake.submission import submit
from entresol_intake.versions import choose

LONGEST_REASON: Final = 2000


def require(
    wanted: RequirementRequested, correlationid: str, at: datetime, shelf: Shelf, session: Session
) -> Iterator[Emit]:
    """Submit the request under the id that it is to get, once; or say why it is not offered so."""
    if request_of(wanted.for_request_id, session) is not None:
        return
    try:
        fitting = _fitting(wanted, shelf, session)
    except Invalid as invalid:
        yield Emit(
            RequirementRefused(
                request_id=wanted.request_id,
                resource_id=wanted.resource_id,
                project=wanted.project,
                name=wanted.name,
                for_request_id=wanted.for_request_id,
                reason=str(invalid)[:LONGEST_REASON],
            ),
            subject=wanted.request_id,
            partitionkey=wanted.resource_id,
        )
        return
    yield from submit(
        fitting,
        wanted.for_request_id,
        wanted.actor.id,
        wanted.actor.groups,
        at,
        session,
        correlationid=correlationid,
        requirement=Requirement(request_id=wanted.request_id, resource_id=wanted.resource_id, name=wanted.name),
    )


def _fitting(wanted: RequirementRequested, shelf: Shelf, session: Session) -> Fitting:
    ask = _ask(wanted)
    if ask.resource_id != wanted.wanted.resource_id:
        raise Invalid([Fault("/resource_id", f"is not {ask.resource_id}, which the other fields name")])
    if not (wanted.for_request_id.isprintable() and len(wanted.for_request_id) <= MAX_REQUEST_ID):
        raise Invalid([Fault("/for_request_id", "can't be the id of a request")])
    provisioned = None if ask.action in BEGINNINGS else version_of(ask.resource_id, session)
    return choose(shelf.offering(ask.offering, session), ask, provisioned).fit(ask, exists=provisioned is not None)


def _ask(wanted: RequirementRequested) -> Ask:
    other = wanted.wanted
    return read_ask(
        {
            "offering": other.offering,
            "version": other.version,
            "class": other.class_,
            "action": wanted.action,
            "project": other.project,
            "environment": other.environment,
            "name": other.name,
            "inputs": other.inputs,
            "reason": f"{wanted.resource_id} requires it as {wanted.name}"[:LONGEST_REASON],
        }
    )
