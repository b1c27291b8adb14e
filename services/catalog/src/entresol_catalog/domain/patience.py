"""How long a request may stay as it is before somebody is to be told, where its state alone does not say.

Some things look like a standstill and are none: waiting for an earlier run on the same resource, a step that may take
longer than others because its offering says so, a step that is suspended until a time that was told, and what stays as
it is until somebody does something: a lock, a step that is suspended without an end.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from entresol_catalog.domain.requests import Request

UNTIL_LIFTED = timedelta(hours=1)
"""How often a request is looked at that waits for what has no end of its own."""
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def look_again_at(request: Request, patience_seconds: Mapping[str, float]) -> datetime | None:
    """When somebody must have moved it on: counted from the last fact, or from the end of an approval or of its holds.

    None if nothing is to be expected any more, or if it was told already.
    """
    if request.terminal or request.stalled_since is not None:
        return None
    patience = _patience(request, patience_seconds)
    if request.cancellation is None:
        if request.state == "waiting-for-approval":
            ends = [one.expires_at for one in request.pending]
            return max(request.updated_at, min(ends, default=request.updated_at)) + patience
        if request.state == "held":
            ends = [one.until for one in request.holds if one.until is not None]
            return max([request.updated_at, *ends]) + patience
        if request.suspended:
            ends = [one.until for one in request.suspended if one.until is not None]
            return max([request.updated_at, *ends]) + patience
    return request.updated_at + patience


def stalls_at(
    request: Request,
    patience_seconds: Mapping[str, float],
    *,
    busy: bool,
    freed_at: datetime | None,
    offering: Mapping[str, Any] | None,
    at: datetime,
) -> datetime:
    """When nobody moving it becomes worth telling; later than `at` for what waits legitimately.

    `busy` says that another run is under way on its resource, `freed_at` when the last one ended or made progress,
    `offering` the manifest that the request names.
    """
    patience = _patience(request, patience_seconds)
    ends = [one.until for one in request.holds] + [one.until for one in request.suspended]
    if request.cancellation is None and None in ends:
        return at + UNTIL_LIFTED
    if request.cancellation is None and request.state in ("allowed", "planning"):
        if busy:
            return at + patience
        if freed_at is not None:
            return max(request.updated_at, freed_at) + patience
    if request.state == "running":
        running = {step.name for step in request.steps if step.state in ("running", "retrying")}
        return request.updated_at + patience + timedelta(seconds=_longest(request, offering, running))
    return at


def _patience(request: Request, patience_seconds: Mapping[str, float]) -> timedelta:
    """A plan that policy has to look at waits as long as a request that was submitted."""
    looked_at = request.state == "planned" and request.undecided
    return timedelta(seconds=patience_seconds["submitted" if looked_at else request.state])


def _longest(request: Request, offering: Mapping[str, Any] | None, steps: set[str]) -> float:
    """Seconds of the longest time-out that the offering gives to one of these steps, in whatever implementation.

    An action without steps of its own, such as a reconcile, takes those of others.
    """
    spec = (offering or {}).get("spec", {})
    ways = [spec.get("actions", {}), *(one.get("actions", {}) for one in spec.get("implementations", ()))]
    own = [way[request.action] for way in ways if request.action in way]
    taken = own or [action for way in ways for action in way.values()]
    described = [step for action in taken for step in action.get("steps", ())]
    return max((_seconds(one.get("timeout") or "") for one in described if one.get("name") in steps), default=0.0)


def _seconds(duration: str) -> float:
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(duration))
