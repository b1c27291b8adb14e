"""What a step does to the world, by what it is there for; the same for every driver.

- A thing counts as taken down only when it was looked for and not found.
- A thing that is adopted has to be there; what differs is left as it is, and told.
"""

import asyncio
import random
from dataclasses import dataclass

from entresol_provisioning.claims import ADOPT, DESTROY
from entresol_provisioning.domain.requests import next_delay_seconds
from entresol_provisioning.drivers import Difference, Driver, StepFailed, StepResult, StepWork, Withdrawing


@dataclass(frozen=True, slots=True)
class Acted:
    result: StepResult
    differences: tuple[Difference, ...] = ()


async def act(what: str, driver: Driver, work: StepWork) -> Acted:
    """Raises what the driver raises."""
    if what == ADOPT:
        return await _adopt(driver, work)
    if what == DESTROY:
        return Acted(await _destroy(driver, work))
    return Acted(await driver.apply(work))


async def withdraw(driver: Driver, work: StepWork) -> Acted | None:
    """Take back what a suspended step has begun, however often it takes; None: nothing of it is left."""
    if not isinstance(driver, Withdrawing):
        raise StepFailed(f"the driver {driver.name} can't do that")
    attempt = 0
    while True:
        attempt += 1
        try:
            done = await driver.withdraw(work)
            return None if done is None else Acted(done)
        except StepFailed as failure:
            delay = next_delay_seconds(attempt, random.random(), first=0.5, longest=10.0)
            if not failure.retryable or work.remaining_seconds < delay:
                raise
            await asyncio.sleep(delay)


async def _destroy(driver: Driver, work: StepWork) -> StepResult:
    result = await driver.destroy(work)
    if result.kept is None and (await driver.observe(work)).exists:
        raise StepFailed("it was taken down, and is still there", retryable=True)
    return result


async def _adopt(driver: Driver, work: StepWork) -> Acted:
    if work.approved is not None:
        work.hold_to((await driver.plan(work)).digest)
    seen = await driver.observe(work)
    if not seen.exists:
        raise StepFailed("there is nothing to adopt; create it instead")
    if seen.outputs is None:
        raise StepFailed("what is there can't be adopted: its outputs can't be told")
    count = len(seen.differences)
    message = f"adopted; {count} differences are left as they are" if count else "adopted as it is"
    return Acted(StepResult(seen.outputs, message), seen.differences)
