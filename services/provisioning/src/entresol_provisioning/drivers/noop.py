"""The driver that does nothing: for benchmarks and for trying out contracts.

`with`: `outputs` are returned as they are; `seconds` is how long it takes; `fail` makes it fail with that reason.
"""

import asyncio
from typing import Any

from entresol_provisioning.drivers import Plan, StepFailed, StepResult, StepWork


class Noop:
    name = "noop"

    def available(self) -> bool:
        return True

    async def plan(self, work: StepWork) -> Plan:
        if work.destroys:
            return Plan(destroys=1, summary=("- nothing in particular",))
        if work.previous is None:
            return Plan(adds=1, summary=("+ nothing in particular",))
        return Plan() if work.previous == _outputs(work) else Plan(changes=1, summary=("~ outputs",))

    async def apply(self, work: StepWork) -> StepResult:
        if seconds := work.with_.get("seconds"):
            await asyncio.sleep(_seconds(seconds))
        if reason := work.with_.get("fail"):
            raise StepFailed(str(reason), retryable=work.with_.get("retryable") is True)
        return StepResult(_outputs(work))

    async def destroy(self, work: StepWork) -> StepResult:
        return StepResult()

    async def close(self) -> None:
        pass


def _outputs(work: StepWork) -> dict[str, Any]:
    outputs = work.with_.get("outputs", {})
    if not isinstance(outputs, dict):
        raise StepFailed("with.outputs must be an object")
    return outputs


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400:
        raise StepFailed("with.seconds must be a number from 0 to 86400")
    return float(value)
