"""How long a request may stay as it is before somebody is to be told, where its state alone does not say.

Two things look like a standstill and are none: waiting for an earlier run on the same resource, and a step that may
take longer than others because its offering says so.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from entresol_catalog.domain.requests import Request

_PART = re.compile(r"([0-9]+)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


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
    patience = timedelta(seconds=patience_seconds[request.state])
    if request.cancellation is None and request.state == "allowed":
        if busy:
            return at + patience
        if freed_at is not None:
            return max(request.updated_at, freed_at) + patience
    if request.state == "running":
        running = {step.name for step in request.steps if step.state in ("running", "retrying")}
        return request.updated_at + patience + timedelta(seconds=_longest(request, offering, running))
    return at


def _longest(request: Request, offering: Mapping[str, Any] | None, steps: set[str]) -> float:
    """Seconds of the longest time-out that the offering gives to one of these steps."""
    actions = (offering or {}).get("spec", {}).get("actions", {})
    described = actions.get(request.action, {}).get("steps", [])
    return max((_seconds(one.get("timeout") or "") for one in described if one.get("name") in steps), default=0.0)


def _seconds(duration: str) -> float:
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(duration))
