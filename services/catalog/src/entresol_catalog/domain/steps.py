"""The steps of a run, as far as the facts have told of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

StepState = Literal["pending", "running", "retrying", "succeeded", "skipped", "failed", "cancelled"]

DONE = frozenset({"succeeded", "skipped"})


@dataclass(slots=True)
class Step:
    name: str
    state: StepState = "pending"
    attempt: int = 0
    message: str | None = None


def ordered(known: Sequence[Step], names: Sequence[str]) -> list[Step]:
    """A step for each name, in their order; those that are known already as they are."""
    by_name = {step.name: step for step in known}
    return [by_name.get(name) or Step(name) for name in names]


def find(steps: list[Step], name: str) -> Step:
    """The step of that name, which is added if it was not told of yet."""
    step = next((one for one in steps if one.name == name), None)
    if step is None:
        step = Step(name)
        steps.append(step)
    return step


def run(steps: Sequence[Step], names: Collection[str]) -> None:
    """These run now, and no others."""
    for step in steps:
        if step.name in names:
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
