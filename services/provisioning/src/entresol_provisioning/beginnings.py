"""How passes begin: what has to be done is fixed, and recorded as steps under a run id of its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from entresol_eventing.envelope import new_id
from entresol_manifests.digest import digest
from entresol_manifests.implementations import choose
from sqlalchemy import Connection

from entresol_provisioning import store
from entresol_provisioning.claims import ADOPT, APPLY, DESTROY
from entresol_provisioning.domain.graph import Impossible, backwards, in_order
from entresol_provisioning.domain.offering import HOW_TO_BE, RESOURCE, Offering, Step
from entresol_provisioning.domain.requests import APPLY as APPLY_PHASE
from entresol_provisioning.domain.requests import (
    PLAN,
    RUNNING,
    WITHOUT_STEPS,
    Request,
    Resource,
    admit,
)
from entresol_provisioning.inputs import resulting
from entresol_provisioning.store import Footprint

_OF_A_PASS = (
    *("phase", "state", "run_id", "cause", "started_at", "effective", "destroys", "steps"),
    *("stop", "approved", "outdated", "applied", "implementation", "judged"),
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
    at: datetime,
) -> tuple[Request, dict[str, tuple[str, ...]]]:
    """Record the pass; return the request as it is now, and what each of its steps needs, in order.

    If its inputs are not those that were judged, it only plans, so that policy judges again.

    `held` is what the steps are held to. Raises Impossible, before anything is written, if it can't begin.
    """
    resource = store.find_resource(connection, request.resource_id)
    there = resource if resource is not None and resource.exists else None
    dependents = store.dependents(connection, request.resource_id) if request.action == "delete" else ()
    admit(request, offering, there, dependents, at)
    _look_whether_needed(connection, request)
    _look_whether_it_was(connection, request, there)
    request = request.but(implementation=_implementation(request, offering, there))
    rows = _rows(connection, request, offering, there)
    needs = {name: tuple(rows[name]["needs"]) for name in in_order({name: row["needs"] for name, row in rows.items()})}
    for name, row in rows.items():
        if row["driver"] not in capabilities:
            raise Impossible(f"step {name} needs the driver {row['driver']}, which is not installed here")
    effective = resulting(request, offering, there)
    if request.phase == APPLY_PHASE and request.judged not in (None, digest(effective)):
        request = request.but(phase=PLAN, approved=request.judged)
    request = request.but(
        destroys=request.action == "delete" and all(row["act"] == DESTROY for row in rows.values()),
        steps=len(needs),
        effective=effective,
        outdated=request.outdated if effective == request.effective else 0,
    )
    store.change_request(connection, request.id, **{name: getattr(request, name) for name in _OF_A_PASS})
    if rows:
        common = {"run_id": request.run_id, "attempt": 1}
        store.add_steps(
            connection,
            [
                {**common, **rows[name], "position": position, "approved": held.get(name)}
                for position, name in enumerate(needs)
            ],
        )
    return request, needs


def _look_whether_needed(connection: Connection, request: Request) -> None:
    """What needed the resource may have ended before this request for it could begin. Raises Impossible."""
    if request.action != "create" or request.requirement is None:
        return
    needing = store.find_request(connection, request.requirement["request_id"])
    if needing is None or needing.state != RUNNING or needing.stop is not None:
        raise Impossible(f"{request.requirement['resource_id']} needs it no more")


def _look_whether_it_was(connection: Connection, request: Request, there: Resource | None) -> None:
    """Who goes back must name a state that was: other inputs are an update, whatever else policy says of a rollback.

    Raises Impossible.
    """
    snapshot = request.snapshot
    if snapshot is None or there is None:
        return
    once = store.inputs_once(connection, request.resource_id, request.offering_version)
    if snapshot["revision"] > there.revision or request.inputs not in once:
        raise Impossible(
            f"{request.resource_id} never was what the rollback calls revision {snapshot['revision']}: "
            f"{request.offering} {request.offering_version} with these inputs; `entresol status` lists its revisions"
        )


def exists_for_another(request: Request, resource: Resource | None) -> bool:
    """Whether the resource that another one needs was made meanwhile: then there is nothing to do."""
    return request.action == "create" and request.requirement is not None and resource is not None and resource.exists


def _implementation(request: Request, offering: Offering | None, there: Resource | None) -> str | None:
    """How it is done. A resource stays with what was chosen for it, as long as it stays with its version."""
    if offering is None or len(offering.ways) == 1:
        return None
    if there is not None and there.offering_digest == offering.digest:
        return there.implementation
    return choose(
        offering.spec,
        environment=request.environment,
        project=request.project,
        class_=request.class_ if there is None else there.class_,
    ).name


def _rows(
    connection: Connection, request: Request, offering: Offering | None, there: Resource | None
) -> dict[str, dict[str, Any]]:
    """The steps of the pass by name, in any order."""
    if request.action in WITHOUT_STEPS or exists_for_another(request, there):
        return {}
    steps = None if offering is None else offering.action(request.action, request.implementation).steps
    left = store.footprints_of(connection, request.resource_id)
    if request.action == "delete" and (steps is None or there is None):
        return _taken_down(left)
    if request.action == "delete":
        # What others gave is given up after the offering's own steps have taken down the rest.
        required = [one for one in left if one.driver == RESOURCE]
        return _listed(steps or (), APPLY) | _taken_down(required, after=_last(steps or ()))
    listed = _listed(steps or (), ADOPT if request.action == "adopt" else APPLY)
    if request.action in HOW_TO_BE:
        listed |= _taken_down([one for one in left if one.step not in listed], after=_last(steps or ()))
    return listed


def _listed(steps: Sequence[Step], act: str) -> dict[str, dict[str, Any]]:
    return {one.name: _row(one.name, one.driver, one.needs, act) for one in steps}


def _taken_down(left: Sequence[Footprint], after: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """In the reverse order of their making, after these other steps."""
    names = {one.step for one in left}
    needs = backwards({one.step: tuple(name for name in one.needs if name in names) for one in left})
    drivers = {one.step: one.driver for one in left}
    return {name: _row(name, drivers[name], wanted or tuple(after), DESTROY) for name, wanted in needs.items()}


def _last(steps: Sequence[Step]) -> tuple[str, ...]:
    needed = {name for one in steps for name in one.needs}
    return tuple(one.name for one in steps if one.name not in needed)


def _row(name: str, driver: str, needs: Sequence[str], act: str) -> dict[str, Any]:
    state = "waiting" if needs else "ready"
    return {"name": name, "driver": driver, "needs": list(needs), "act": act, "state": state}
