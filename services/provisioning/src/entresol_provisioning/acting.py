"""What a step does to the world, by what it is there for; the same for every driver.

- A thing counts as taken down only when it was looked for and not found.
- A thing that is adopted has to be there; what differs is left as it is, and told.
"""

from dataclasses import dataclass

from entresol_provisioning.claims import ADOPT, DESTROY
from entresol_provisioning.drivers import Difference, Driver, StepFailed, StepResult, StepWork


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
