"""The run of a request: its steps, what it waits for, what it has needed from others, and what was undone.

- A suspended step is shown as such while it lasts and no longer: until that step is told of again, until the request
  that it waits for has ended, or until the run has.
- Facts come in the order of the log. One that comes again changes nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from entresol_catalog.domain import steps
from entresol_catalog.domain.steps import Compensation, Step, Suspension

NeedOutcome = Literal["refused", "succeeded", "failed", "denied", "rejected", "expired", "cancelled"]


@dataclass(slots=True)
class Snapshot:
    """An earlier revision of the resource, to which it goes back."""

    revision: int
    request_id: str | None
    """The request that had made it."""


@dataclass(slots=True)
class Requirement:
    """What the request is made for."""

    request_id: str
    """The request that waits for it."""
    resource_id: str
    """The resource that needs it."""
    name: str
    """What it is called there."""


@dataclass(slots=True)
class Need:
    """Another resource that the run needs made, changed or deleted."""

    name: str
    """What it is called in `requires` of the offering."""
    action: str
    resource: str
    request: str
    """The request for it."""
    outcome: NeedOutcome | None = None
    """None while that is open; `refused`: it was never made."""
    because: str | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    run_id: str | None = None
    steps: list[Step] = field(default_factory=list)
    suspended: list[Suspension] = field(default_factory=list)
    """What its suspended steps wait for."""
    requires: list[Need] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    compensated: list[str] = field(default_factory=list)
    """Steps that were undone when it failed or was cancelled."""
    left: list[str] = field(default_factory=list)
    """Steps that have left something in the world when it failed or was cancelled."""

    def begin(self, run_id: str, names: list[str], running: list[str]) -> bool:
        if self.run_id is not None:
            return False
        self.run_id = run_id
        self.steps = steps.ordered(self.steps, names)
        steps.run(self.steps, running)
        return True

    def give_up(self) -> None:
        """Another run begins in its place."""
        self.run_id, self.steps, self.suspended = None, [], []

    def progress(
        self,
        name: str,
        state: Literal["succeeded", "skipped", "retrying"],
        attempt: int,
        message: str | None,
        running: list[str],
    ) -> bool:
        step = steps.find(self.steps, name)
        if step.state in steps.DONE or attempt < step.attempt or (state == "retrying" and attempt <= step.retried):
            return False
        self._release([one for one in self.suspended if one.step == name])
        step.state, step.attempt, step.message = state, attempt, message
        if state == "retrying":
            step.retried = attempt
        steps.run(self.steps, running)
        return True

    def suspend(self, run_id: str, suspension: Suspension) -> bool:
        """A step waits, or waits for something else now. What is told of a run that was given up is too late."""
        if self.run_id not in (None, run_id) or self._is_over(suspension):
            return False
        for one in self.suspended:
            if one.step == suspension.step:
                if _same(one, suspension) and (one.resumed_by is None or one.since == suspension.since):
                    return False
                self.suspended.remove(one)
                break
        self.suspended.append(suspension)
        if (step := steps.known(self.steps, suspension.step)) is not None:
            step.state, step.attempt = "suspended", max(1, step.attempt)
        return True

    def resume(self, name: str | None, by: str, at: datetime) -> bool:
        """Somebody lets a step go on; without a name, all that may be."""
        found = [
            one
            for one in self.suspended
            if one.resumable and one.resumed_by is None and (name is None or one.step == name)
        ]
        for one in found:
            one.resumed_by, one.resumed_at = by, at
        return bool(found)

    def require(self, need: Need) -> bool:
        if any(one.request == need.request for one in self.requires):
            return False
        self.requires.append(need)
        return True

    def settle_need(self, request_id: str, outcome: NeedOutcome, because: str | None) -> bool:
        """The request for what it needs has ended: nothing waits for that any more."""
        need = next((one for one in self.requires if one.request == request_id and one.outcome is None), None)
        waiting = [one for one in self.suspended if one.requires == request_id]
        if need is not None:
            need.outcome, need.because = outcome, because
        self._release(waiting)
        return need is not None or bool(waiting)

    def compensate(self, name: str, compensation: Compensation) -> bool:
        """What is undone stays so; what could not be may be after all."""
        step = steps.find(self.steps, name)
        had = step.compensation
        if had is not None and (had.state == "succeeded" or had.state == compensation.state):
            return False
        step.compensation = compensation
        return True

    def _release(self, waits: list[Suspension]) -> None:
        self.suspended = [one for one in self.suspended if one not in waits]
        for one in waits:
            if (step := steps.known(self.steps, one.step)) is not None:
                step.waited_at = one.since
                if step.state == "suspended":
                    step.state = "running"

    def _is_over(self, suspension: Suspension) -> bool:
        """Whether what it tells of has ended already."""
        step = steps.known(self.steps, suspension.step)
        if step is not None and (step.state in steps.DONE or step.waited_at == suspension.since):
            return True
        needed = suspension.requires
        return needed is not None and any(one.request == needed and one.outcome is not None for one in self.requires)


def _same(one: Suspension, other: Suspension) -> bool:
    return (one.reason, one.until, one.resumable, one.requires) == (
        other.reason,
        other.until,
        other.resumable,
        other.requires,
    )
