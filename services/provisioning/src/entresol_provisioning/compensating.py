"""What has to be undone of a run that failed or was cancelled, where the offering asks for it.

Steps are undone in the reverse order of their making, and one only when everything that was built on it is undone. A
step that failed may have left something, so it is undone too. What a step says for itself goes before what is usual:
what was made is taken down, what was changed is made again as it stood before. What is adopted was there before and
has not been changed, so nothing of it is undone.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from entresol_provisioning import store
from entresol_provisioning.claims import APPLY, DESTROY, RESTORE, UNDO
from entresol_provisioning.domain.graph import StepState, backwards
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import Request


def rows(
    connection: Connection, request: Request, offering: Offering | None, steps: Mapping[str, StepState]
) -> list[dict[str, Any]]:
    """The steps that undo, to be added to the run; none if nothing has to be undone."""
    action = None if offering is None else offering.action(request.action, request.implementation)
    if action is None or not action.compensates or request.action == "adopt":
        return []
    own = {one.name: one.compensate for one in action.steps or () if one.compensate is not None}
    left = {
        one.step: one
        for one in store.footprints_of(connection, request.resource_id)
        if one.run_id == request.run_id or one.step in request.applied
    }
    acts: dict[str, tuple[str, str]] = {}
    for name, one in steps.items():
        if name in own and one.state == "succeeded":
            acts[name] = (own[name].driver, APPLY)
        elif name in left and (request.action == "create" or left[name].former is None):
            acts[name] = (left[name].driver, DESTROY)
        elif name in left:
            acts[name] = (left[name].former["driver"], RESTORE)  # type: ignore[index]
    needs = backwards({name: tuple(one for one in steps[name].needs if one in acts) for name in acts})
    return [
        {
            "run_id": request.run_id,
            "name": UNDO + name,
            "position": len(steps) + number,
            "driver": acts[name][0],
            "act": acts[name][1],
            "needs": [UNDO + one for one in wanted],
            "state": "waiting" if wanted else "ready",
        }
        for number, (name, wanted) in enumerate(needs.items())
    ]


def undone(steps: Mapping[str, StepState]) -> list[str]:
    """Names of the steps that were undone."""
    return [
        name.removeprefix(UNDO) for name, one in steps.items() if name.startswith(UNDO) and one.state == "succeeded"
    ]
