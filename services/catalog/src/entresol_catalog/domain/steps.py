"""The steps of a run, as far as the facts have told of them, what they wait for, and how they were undone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

StepState = Literal["pending", "running", "suspended", "retrying", "succeeded", "skipped", "failed", "cancelled"]

DONE = frozenset({"succeeded", "skipped"})


@dataclass(slots=True)
class Compensation:
    """How a finished step was undone, or why it could not be."""

    state: Literal["succeeded", "failed"]
    message: str | None
    at: datetime


@dataclass(slots=True)
class Step:
    name: str
    state: StepState = "pending"
    attempt: int = 0
    message: str | None = None
    retried: int = 0
    """The last attempt that was told to have been in vain."""
    waited_at: datetime | None = None
    """When the wait was told of that ended last."""
    compensation: Compensation | None = None


@dataclass(slots=True)
class Suspension:
    """What a suspended step waits for: a person, something it has started, or another resource."""

    step: str
    reason: str
    since: datetime
    until: datetime | None
    """When it is given up; None if that was not told."""
    resumable: bool
    """Whether a person may let it go on."""
    requires: str | None
    """The request for another resource that it waits for."""
    resumed_by: str | None = None
    """Who has let it go on; the step takes it up when it is looked at next."""
    resumed_at: datetime | None = None

    def __str__(self) -> str:
        until = f" until {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else ""
        if self.resumed_by is not None:
            return f"step {self.step}{until}, resumed by {self.resumed_by}: {self.reason}"
        return f"step {self.step}{until}{', unless somebody resumes it' if self.resumable else ''}: {self.reason}"


def ordered(known: Sequence[Step], names: Sequence[str]) -> list[Step]:
    """A step for each name, in their order; those that are known already as they are."""
    by_name = {step.name: step for step in known}
    return [by_name.get(name) or Step(name) for name in names]


def known(steps: Sequence[Step], name: str) -> Step | None:
    return next((one for one in steps if one.name == name), None)


def find(steps: list[Step], name: str) -> Step:
    """The step of that name, which is added if it was not told of yet."""
    step = known(steps, name)
    if step is None:
        step = Step(name)
        steps.append(step)
    return step


def run(steps: Sequence[Step], names: Collection[str]) -> None:
    """These run now, and no others; one that is suspended stays so."""
    for step in steps:
        if step.name in names and step.state != "suspended":
            step.state, step.attempt = "running", max(1, step.attempt)
        elif step.state == "running":
            step.state = "pending"


def succeed(steps: Sequence[Step]) -> None:
    for step in steps:
        if step.state not in DONE:
            step.state, step.attempt = "succeeded", max(1, step.attempt)


def stop(steps: Sequence[Step], failed: str | None = None, reason: str | None = None) -> None:
    """What was not done never will be; one of them may be why."""
    for step in steps:
        if failed is not None and step.name == failed:
            step.state, step.attempt, step.message = "failed", max(1, step.attempt), reason
        elif step.state not in DONE:
            step.state = "cancelled"
