"""How passes begin: what has to be done is fixed, and recorded as steps under a run id of its own."""

from collections.abc import Mapping
from datetime import datetime

from entresol_eventing.envelope import new_id
from sqlalchemy import Connection

from entresol_provisioning import store
from entresol_provisioning.domain.graph import Impossible, backwards, in_order
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import RUNNING, Request, Resource, admit, effective_inputs

_OF_A_PASS = (
    *("phase", "state", "run_id", "cause", "started_at", "effective", "destroys", "steps"),
    *("stop", "approved", "outdated", "applied"),
)


def number(request: Request, at: datetime) -> Request:
    """The request with a new pass.

    The run id is never used again: a driver takes what bears it for its own work, and would not do it a second time.
    """
    return request.but(run_id=new_id(), started_at=at, state=RUNNING, stop=None)


def begin(
    connection: Connection,
    request: Request,
    offering: Offering | None,
    capabilities: Mapping[str, bool],
    held: Mapping[str, str | None],
) -> tuple[Request, dict[str, tuple[str, ...]]]:
    """Record the pass; return the request as it is now, and what each of its steps needs, in order.

    `held` is what the steps are held to. Raises Impossible, before anything is written, if it can't begin.
    """
    resource = store.find_resource(connection, request.resource_id)
    there = resource if resource is not None and resource.exists else None
    named = f"{request.offering} {request.offering_version}"
    admit(request.action, request.resource_id, offering, named, exists=there is not None)
    destroys, drivers, needs = _steps(connection, request, offering, there, capabilities)
    needs = {name: needs[name] for name in in_order(needs)}
    effective = effective_inputs(request.action, request.inputs, there.inputs if there else None)
    request = request.but(destroys=destroys, steps=len(needs), effective=effective)
    store.change_request(connection, request.id, **{name: getattr(request, name) for name in _OF_A_PASS})
    rows = [
        {
            "run_id": request.run_id,
            "name": name,
            "position": position,
            "driver": drivers[name],
            "needs": list(needs[name]),
            "state": "waiting" if needs[name] else "ready",
            "attempt": 1,
            "approved": held.get(name),
        }
        for position, name in enumerate(needs)
    ]
    if rows:
        store.add_steps(connection, rows)
    return request, needs


def _steps(
    connection: Connection,
    request: Request,
    offering: Offering | None,
    resource: Resource | None,
    capabilities: Mapping[str, bool],
) -> tuple[bool, dict[str, str], dict[str, tuple[str, ...]]]:
    """Whether the pass takes down, and its drivers and needs by step. Raises Impossible."""
    if request.action == "extend":
        return False, {}, {}
    steps = offering.steps(request.action) if offering is not None else None
    destroys = request.action == "delete" and (steps is None or resource is None)
    if destroys:
        left = store.footprints_of(connection, request.resource_id)
        names = {one.step for one in left}
        needs = backwards({one.step: tuple(name for name in one.needs if name in names) for one in left})
        drivers = {one.step: one.driver for one in left}
    else:
        needs = {one.name: one.needs for one in steps or ()}
        drivers = {one.name: one.driver for one in steps or ()}
    for name, driver in drivers.items():
        if driver not in capabilities:
            raise Impossible(f"step {name} needs the driver {driver}, which is not installed here")
    return destroys, drivers, needs
