"""What a worker says about one attempt at a step, and whether its run stops for that; `runs` records it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from entresol_provisioning.domain.requests import AGAIN, FAILED, PLAN
from entresol_provisioning.drivers import Difference


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a step is suspended, and when it goes on."""

    reason: str
    look_at: datetime | None
    """When to try again; None: only once somebody has let it go on."""
    until: datetime
    """When it is given up."""
    resumable: bool = False
    memory: Mapping[str, Any] = field(default_factory=dict)
    withdraws: bool = False
    """Whether it has to be withdrawn if nobody waits for it any more."""

    def as_json(self) -> dict[str, Any]:
        until = self.until.isoformat()
        said = {"reason": self.reason, "until": until, "resumable": self.resumable, "memory": dict(self.memory)}
        return said | ({"withdraws": True} if self.withdraws else {})

    def to_withdraw(self) -> dict[str, Any]:
        """What is remembered of the step if it is given up, and has to be withdrawn."""
        return self.as_json() if self.withdraws else {}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended."""

    run_id: str
    step: str
    attempt: int
    state: Literal["succeeded", "skipped", "suspended", "retrying", "failed", "dropped", "outdated"]
    """`dropped`: the run was told to stop before the step began. `outdated`: it would not do what was approved."""
    act: str = "apply"
    """What was done; a step whose condition does not hold any more is taken down instead of made."""
    message: str | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] | None = None
    """Of a pass that plans: what the step would do; see `plans.outline`."""
    retry_after_seconds: float = 0.0
    wait: Wait | None = None
    """Of a step that is suspended."""
    undo: dict[str, Any] | None = None
    """What has to be known to take the effect down again; absent if the driver was not reached."""
    begun: Mapping[str, Any] = field(default_factory=dict)
    """Of a step that was suspended and has to be withdrawn if it is given up: what is remembered of it."""
    withdrawn: bool = False
    """Whether nothing is left of what it had begun."""
    known: bool = False
    """Whether the step had left something before this attempt."""
    kept: str | None = None
    """What a destroyed step has left in the world."""
    differences: tuple[Difference, ...] = ()
    """Of an adopted step: where the world is not what the step would make of it."""


def reason_to_stop(stop: dict[str, Any] | None, verdict: Verdict) -> dict[str, Any] | None:
    """Why no further step may begin after this verdict; the same as before if the verdict adds nothing."""
    again = None if stop is None else stop.get("phase")
    if verdict.state == "outdated" and stop is None:
        return {"outcome": AGAIN, "phase": PLAN}
    if verdict.state == "dropped" and verdict.message is not None and stop is not None and "reason" in stop:
        return {**stop, "reason": f"{stop['reason']}; {verdict.message}"}
    if verdict.state == "failed":
        reason = verdict.message or "no reason was given"
        if stop is None or again == PLAN:
            return {"outcome": FAILED, "reason": reason, "step": verdict.step}
        if "reason" in stop:
            return {**stop, "reason": f"{stop['reason']}; step {verdict.step} failed: {reason}"}
    return stop
