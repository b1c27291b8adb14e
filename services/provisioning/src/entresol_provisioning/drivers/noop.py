"""The driver that does nothing: for benchmarks and for trying out offerings."""

import asyncio
from typing import Any

from entresol_manifests.digest import digest
from pydantic import Field

from entresol_provisioning.drivers import Observation, Plan, StepFailed, StepResult, StepSuspended, StepWork, Touched
from entresol_provisioning.drivers.contracts import Strict, contract, read


class Spec(Strict):
    """Does nothing: for trying out offerings."""

    outputs: dict[str, Any] = Field(default_factory=dict)
    """Given back as they are."""
    seconds: float = Field(default=0, ge=0, le=86_400)
    """How long it takes."""
    fail: str | None = None
    """Why it fails; empty or left out: it does not."""
    retryable: bool = False
    """Whether it is tried again where it fails."""
    suspend: str | None = None
    """Why it waits until a person lets it go on; what that person says is among the outputs."""


class Noop:
    name = "noop"
    contract = contract(Spec)

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
        asked = read(Spec, work)
        await asyncio.sleep(asked.seconds)
        if asked.fail:
            raise StepFailed(asked.fail, retryable=asked.retryable)
        if asked.suspend and work.answer is None:
            raise StepSuspended(asked.suspend, look_after_seconds=None)
        return StepResult(asked.outputs | dict(work.answer or {}))

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
    return read(Spec, work).outputs
