"""The order of steps: which may run now, and in which order to take them down again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DONE = frozenset({"succeeded", "skipped"})
"""States of a step that let those which need it go on."""


class Impossible(Exception):
    """A request that can't be carried out; the text says why, to the person who asked."""


def in_order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Names so that each comes after what it needs, otherwise as they were written.

    Raises Impossible for a step that is not there and for a circle.
    """
    for name, wanted in needs.items():
        for one in wanted:
            if one not in needs:
                raise Impossible(f"step {name} needs {one}, which is not a step of this action")
    order: list[str] = []
    left = dict(needs)
    while left:
        free = [name for name, wanted in left.items() if not any(one in left for one in wanted)]
        if not free:
            raise Impossible(f"the steps {', '.join(left)} need each other in a circle")
        order += free
        for name in free:
            del left[name]
    return order


@dataclass(frozen=True, slots=True)
class StepState:
    """How far one step of a run is."""

    name: str
    needs: tuple[str, ...]
    state: str
    outputs: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] | None = None
    driver: str = ""
    act: str = "apply"
    memory: dict[str, Any] | None = None


def ready(steps: Mapping[str, StepState]) -> list[str]:
    """Steps that wait for nothing any more."""
    return [
        name
        for name, one in steps.items()
        if one.state == "waiting" and all(steps[other].state in DONE for other in one.needs)
    ]


def backwards(needs: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The same graph for taking down: a step goes only after everything that was built on it is gone."""
    return {name: tuple(other for other, wanted in needs.items() if name in wanted) for name in reversed(list(needs))}


def finished(steps: Iterable[StepState]) -> bool:
    return all(one.state in DONE for one in steps)
