"""What a plan says: of one step, and of a whole pass.

A digest covers everything that would be done. What is told beside it are the first things of each kind, so that the
largest plan fits into an event; what takes something away comes first, because a rule that looks for it must find it.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from entresol_contracts.events import PlannedResource, StepPlan
from entresol_manifests.digest import digest
from entresol_manifests.expressions import ExpressionError, Scope
from entresol_manifests.inputs import WHOLE
from sqlalchemy import Connection

from entresol_provisioning import resources, store
from entresol_provisioning.domain.graph import Impossible, StepState
from entresol_provisioning.domain.offering import Offering
from entresol_provisioning.domain.requests import Request
from entresol_provisioning.drivers import Plan
from entresol_provisioning.scopes import guard, variables

LARGEST_BYTES = 200 * 1024
"""Of what is told; the envelope comes on top, and an event may have 256 KiB."""
MOST = 1000
"""Resources that are told, and lines of a step that are kept."""
LONGEST = 500
"""Characters of a line or an address."""
SKIPPED = "skipped"
"""What a step is held to whose condition did not hold in the plan."""

UNCHANGED = "unchanged"
"""Digest of a plan that has nothing to do because what the step is done with is the same as before."""

_COUNTS = ("adds", "changes", "destroys")
_ORDER = {"destroy": 0, "replace": 1, "change": 2, "add": 3}
_MORE_BYTES = 40
_COST_KNOWS = ("inputs", "environment", "actor", "request")


def outline(name: str, driver: str, plan: Plan) -> dict[str, Any]:
    """What is kept of a step's plan."""
    touched = sorted(plan.resources, key=lambda one: _ORDER[one.change])[:MOST]
    return {
        "name": name,
        "driver": driver,
        "adds": plan.adds,
        "changes": plan.changes,
        "destroys": plan.destroys,
        "digest": plan.digest,
        "more_lines": max(0, len(plan.summary) - MOST),
        "summary": [_short(line) for line in plan.summary[:MOST]],
        "resources": [{"address": _short(one.address), "type": one.type, "change": one.change} for one in touched],
    }


def after_apply(name: str, driver: str, waits_for: str, *, there: bool) -> dict[str, Any]:
    """What is kept of a step that can't be planned before others were applied; `there`: whether it was ever done."""
    return {
        "name": name,
        "driver": driver,
        "adds": 0 if there else 1,
        "changes": 1 if there else 0,
        "destroys": 0,
        "unknown": True,
        "summary": [_short(f"known after apply: it needs the outputs of {waits_for}")],
    }


def changes_nothing(plan: Mapping[str, Any] | None) -> bool:
    return plan is None or not any(plan[count] for count in _COUNTS)


def held_to(steps: Mapping[str, StepState]) -> dict[str, str | None]:
    """What each step of a pass that applies must not deviate from, by the pass that has planned it."""
    return {name: SKIPPED if one.plan is None else one.plan.get("digest") for name, one in steps.items()}


def tell(
    connection: Connection,
    request: Request,
    offering: Offering | None,
    steps: Mapping[str, StepState],
    capabilities: Mapping[str, bool],
    at: datetime,
) -> dict[str, Any]:
    """The content of run.planned. Raises Impossible if the request can't be carried out, or its cost can't be told."""
    resource = store.find_resource(connection, request.resource_id)
    if request.action == "extend":
        assert offering is not None
        assert resource is not None
        list(resources.extend(connection, request.but(dry_run=True), offering, resource, at))
    cost = _cost(offering, request, variables(request, resource, {}, capabilities))
    plans = [one.plan for one in steps.values() if one.plan is not None]
    told: dict[str, Any] = {
        "digest": digest(
            {
                "resource": request.resource_id,
                "action": request.action,
                "offering": request.offering_digest,
                "inputs": request.effective,
                "cost": cost,
                "steps": {name: _digested(one) for name, one in steps.items()},
            }
        ),
        **{count: sum(one[count] for one in plans) for count in _COUNTS},
        "cost": cost,
        "inputs": None if request.action in WHOLE else request.effective,
        "unknown": [one["name"] for one in plans if one.get("unknown")],
    }
    return told | _fitting(plans, LARGEST_BYTES - _size(told))


def _digested(step: StepState) -> dict[str, Any]:
    if step.plan is None:
        return {"state": step.state}
    return {key: step.plan.get(key) for key in (*_COUNTS, "driver", "digest", "unknown")}


def _cost(offering: Offering | None, request: Request, scope: Mapping[str, Any]) -> float | None:
    if offering is None or offering.cost is None:
        return None
    if request.action == "delete":
        return 0.0
    try:
        value = guard().evaluate(offering.cost, Scope(**{name: scope[name] for name in _COST_KNOWS}))
    except ExpressionError as error:
        raise Impossible(f"the offering's cost can't be told: {error}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Impossible(f"the offering's cost can't be told: `{offering.cost}` is no finite number")
    return float(value)


def _fitting(plans: Sequence[Mapping[str, Any]], room: int) -> dict[str, Any]:
    """The steps and resources that are told, in at most so many bytes. Half of the room is for lines."""
    steps = [{key: one.get(key) for key in ("name", "driver", *_COUNTS, "digest", "unknown")} for one in plans]
    room -= sum(map(_size, steps))
    if room < 0:
        raise Impossible("the plan has more steps than can be told in one event")
    for_lines = room // 2
    for number, (step, plan) in enumerate(zip(steps, plans, strict=True)):
        share = for_lines // (len(plans) - number)
        step["summary"] = _lines(plan, share)
        for_lines -= _size(step["summary"])
        room -= _size(step["summary"])
    touched = [{"step": plan["name"], **one} for plan in plans for one in plan.get("resources", ())]
    touched.sort(key=lambda one: _ORDER[one["change"]])
    return {
        "steps": [StepPlan(**one) for one in steps],
        "resources": [PlannedResource(**one) for one in _first(touched[:MOST], room)],
    }


def _lines(plan: Mapping[str, Any], room: int) -> list[str]:
    if room < _MORE_BYTES:
        return []
    lines = list(_first(plan["summary"], room - _MORE_BYTES))
    more = len(plan["summary"]) - len(lines) + plan.get("more_lines", 0)
    return [*lines, f"… and {more} more"] if more else lines


def _first(items: Iterable[Any], room: int) -> Iterator[Any]:
    for item in items:
        room -= _size(item)
        if room < 0:
            return
        yield item


def _size(value: Any) -> int:
    """At least the bytes that it takes in an event, with what separates it from the next."""
    return len(json.dumps(value)) + 2


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
