"""What has drifted is put right by a request like any other, if its offering wants that."""

from collections.abc import Iterator
from typing import Final

from entresol_contracts.events import Question, ResourceDrifted
from entresol_eventing.envelope import Event, new_id
from entresol_eventing.reactions import Emit
from sqlmodel import Session

from entresol_intake.domain.asks import RECONCILE, Ask
from entresol_intake.offerings import Fitting
from entresol_intake.shelf import Shelf
from entresol_intake.store import is_open
from entresol_intake.submission import submit

DRIFT: Final = "system:drift"
REPORT: Final = "report"
ASK: Final = "ask"
NAMED: Final = 3
"""Places that a reason names."""
LONGEST_PLACE: Final = 200
_PEOPLE: Final = ("user:", "group:")


def correct(event: Event[ResourceDrifted], shelf: Shelf, session: Session) -> Iterator[Emit]:
    """Ask that it be put right, in the chain of the drift; nothing if that was asked for and has not ended."""
    drifted = event.data
    if drifted.mode == REPORT or is_open(drifted.resource_id, RECONCILE, session):
        return
    reason = _because(drifted)
    ask = Ask(
        offering=drifted.offering,
        version=drifted.offering_version,
        action=RECONCILE,
        project=drifted.project,
        environment=drifted.environment,
        name=drifted.name,
        inputs={},
        lifetime=None,
        reason=reason,
        dry_run=False,
    )
    question = Question(from_=[_owner(drifted, shelf, session)], because=reason) if drifted.mode == ASK else None
    fitting = Fitting(ask, drifted.offering_version, RECONCILE, {}, None)
    yield from submit(
        fitting, new_id(), DRIFT, (), event.time, session, correlationid=event.correlationid, question=question
    )


def _because(drifted: ResourceDrifted) -> str:
    places = [f"{each.path[:LONGEST_PLACE]} was {each.change}" for each in drifted.differences]
    places += [f"nothing is left of {step[:LONGEST_PLACE]}" for step in drifted.gone or ()]
    total = len(places) + (drifted.more or 0)
    told = ", ".join(places[:NAMED])
    return f"it has drifted: {told}" + (f", and {total - NAMED} more" if total > NAMED else "")


def _owner(drifted: ResourceDrifted, shelf: Shelf, session: Session) -> str:
    """Who may answer: the resource's owner; the offering's, where a trigger or a program owns the resource."""
    if drifted.owner.startswith(_PEOPLE):
        return drifted.owner
    offering = shelf.offering(drifted.offering, session).get(drifted.offering_version)
    owner = None if offering is None else offering.owner
    if owner is None:
        return drifted.owner
    return owner if owner.startswith(_PEOPLE) else f"group:{owner}"
