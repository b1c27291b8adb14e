"""What is remembered of a step's effect on the world, so that a delete, an update or a compensation can build on it.

A failed attempt may have left something, so it counts as well.
"""

from typing import Any

from sqlalchemy import Connection

from entresol_provisioning import store
from entresol_provisioning.claims import DESTROY, RESTORE, UNDO
from entresol_provisioning.domain.offering import HOW_TO_BE
from entresol_provisioning.domain.requests import Request
from entresol_provisioning.verdicts import Verdict


def remember(connection: Connection, request: Request, verdict: Verdict) -> None:
    """Write it down. A step that only plans leaves nothing; what a custom action does is never taken down."""
    if request.plans:
        return
    name = verdict.step.removeprefix(UNDO)
    if verdict.withdrawn and verdict.state != "succeeded":
        if verdict.step == name and verdict.act != DESTROY:
            _withdrawn(connection, request, name)
        return
    if verdict.step != name:
        if verdict.state == "succeeded":
            _undone(connection, request, name, verdict)
        return
    if verdict.act == DESTROY:
        if verdict.state == "succeeded":
            store.remove_footprint(connection, request.resource_id, name)
    elif request.action in HOW_TO_BE and verdict.undo is not None:
        outputs = verdict.outputs if verdict.state == "succeeded" else None
        left = {"fingerprint": None, **verdict.undo, "run_id": verdict.run_id}
        store.leave_footprint(connection, request.resource_id, name, outputs, known=verdict.known, **left)


def disown(connection: Connection, request: Request) -> None:
    """What an adoption that did not succeed has taken to be owned was there before, and is nobody's again."""
    for one in store.footprints_of(connection, request.resource_id):
        if one.run_id == request.run_id:
            store.remove_footprint(connection, request.resource_id, one.step)


def _withdrawn(connection: Connection, request: Request, name: str) -> None:
    """Nothing is there but what was before this request."""
    found = next((one for one in store.footprints_of(connection, request.resource_id) if one.step == name), None)
    if found is None or found.run_id != request.run_id:
        return
    if found.former is None:
        store.remove_footprint(connection, request.resource_id, name)
        return
    former: dict[str, Any] = {**found.former, "former": None}
    outputs = former.pop("outputs")
    store.leave_footprint(connection, request.resource_id, name, outputs, known=True, **former)


def _undone(connection: Connection, request: Request, name: str, verdict: Verdict) -> None:
    """The books are as before the run that was undone."""
    found = next((one for one in store.footprints_of(connection, request.resource_id) if one.step == name), None)
    if found is None:
        return
    if request.action == "create" or found.former is None:
        store.remove_footprint(connection, request.resource_id, name)
        return
    former: dict[str, Any] = {**found.former, "former": None}
    outputs = former.pop("outputs")
    if verdict.act == RESTORE:
        outputs = verdict.outputs
    store.leave_footprint(connection, request.resource_id, name, outputs, known=True, **former)
