"""The driver that does nothing: for benchmarks and for trying out contracts.

`with`: `outputs` are returned as they are; `seconds` is how long it takes; `fail` makes it fail with that reason;
`suspend` is a reason to wait until a person lets it go on, and what that person says is among the outputs.
"""

import asyncio
from typing import Any

from entresol_manifests.digest import digest

from entresol_provisioning.drivers import Observation, Plan, StepFailed, StepResult, StepSuspended, StepWork, Touched


class Noop:
    name = "noop"

    def available(self) -> bool:
        return True

    async def plan(self, work: StepWork) -> Plan:
        digested = _digest(work, destroys=work.destroys)
        if work.destroys:
            touched = (Touched(work.resource_id, "destroy"),)
            return Plan(digest=digested, destroys=1, summary=("- nothing in particular",), resources=touched)
        if work.previous is None:
            touched = (Touched(work.resource_id, "add"),)
            return Plan(digest=digested, adds=1, summary=("+ nothing in particular",), resources=touched)
        if work.previous == _outputs(work):
            return Plan(digest=digested)
        touched = (Touched(work.resource_id, "change"),)
        return Plan(digest=digested, changes=1, summary=("~ outputs",), resources=touched)

    async def apply(self, work: StepWork) -> StepResult:
        work.hold_to(_digest(work, destroys=False))
        if seconds := work.with_.get("seconds"):
            await asyncio.sleep(_seconds(seconds))
        if reason := work.with_.get("fail"):
            raise StepFailed(str(reason), retryable=work.with_.get("retryable") is True)
        if (reason := work.with_.get("suspend")) and work.answer is None:
            raise StepSuspended(str(reason), look_after_seconds=None)
        return StepResult(_outputs(work) | dict(work.answer or {}))

    async def destroy(self, work: StepWork) -> StepResult:
        work.hold_to(_digest(work, destroys=True))
        return StepResult()

    async def observe(self, work: StepWork) -> Observation:
        """It leaves nothing in the world, so nothing of it can differ; what was done once is taken to be there."""
        if work.destroys:
            return Observation(exists=False)
        return Observation(exists=work.adopts or work.previous is not None, outputs=_outputs(work))

    async def close(self) -> None:
        pass


def _digest(work: StepWork, *, destroys: bool) -> str:
    """An attempt that failed has left no outputs, and is like none at all."""
    after = None if destroys else _outputs(work)
    return digest({"before": work.previous or {}, "after": after})


def _outputs(work: StepWork) -> dict[str, Any]:
    outputs = work.with_.get("outputs", {})
    if not isinstance(outputs, dict):
        raise StepFailed("with.outputs must be an object")
    return outputs


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
        raise StepFailed("with.seconds must be a number from 0 to 86400")
    return float(value)
