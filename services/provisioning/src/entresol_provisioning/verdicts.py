"""What a worker says about one attempt at a step; `runs` records it."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended."""

    run_id: str
    step: str
    attempt: int
    state: Literal["succeeded", "skipped", "retrying", "failed", "dropped", "outdated"]
    """`dropped`: the run was told to stop before the step began. `outdated`: it would not do what was approved."""
    message: str | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] | None = None
    """Of a pass that plans: what the step would do; see `outlines`."""
    retry_after_seconds: float = 0.0
    undo: dict[str, Any] | None = None
    """What has to be known to take the effect down again; absent if the driver was not reached."""
    known: bool = False
    """Whether the step had left something before this attempt."""
