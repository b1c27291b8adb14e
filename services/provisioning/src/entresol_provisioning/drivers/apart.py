"""Drivers of others, kept apart: each works on an event loop in a thread of its own.

- One that blocks, or never ends, holds only its own steps, and these until their time is over.
- What it raises is a failure of the step, whatever it is; what it gives is of the type that the protocol says.
- A call that is cancelled is waited for until it has ended, for some seconds.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from entresol_provisioning.drivers import (
    Contract,
    Driver,
    Observation,
    Plan,
    StepFailed,
    StepResult,
    StepSuspended,
    StepWork,
    Withdrawing,
    contract_of,
)

ENDING_SECONDS = 10.0
T = TypeVar("T")
log = logging.getLogger(__name__)


class Apart:
    """A driver, its name, its contract and whether it can work here asked for once."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.name = str(driver.name)
        self.contract: Contract | None = contract_of(driver)
        self._available = bool(driver.available())
        self._loop: asyncio.AbstractEventLoop | None = None

    def available(self) -> bool:
        return self._available

    async def plan(self, work: StepWork) -> Plan:
        return await self._there(lambda: self._driver.plan(work), Plan)

    async def apply(self, work: StepWork) -> StepResult:
        return await self._there(lambda: self._driver.apply(work), StepResult)

    async def destroy(self, work: StepWork) -> StepResult:
        return await self._there(lambda: self._driver.destroy(work), StepResult)

    async def observe(self, work: StepWork) -> Observation:
        return await self._there(lambda: self._driver.observe(work), Observation)

    async def close(self) -> None:
        """Raises nothing."""
        if self._loop is None:
            return
        try:
            async with asyncio.timeout(ENDING_SECONDS):
                await self._there(self._driver.close, type(None))
        except (TimeoutError, StepFailed) as error:
            log.error("a driver could not be closed", extra={"driver": self.name, "reason": str(error)})
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop = None

    async def _there(self, call: Callable[[], Awaitable[Any]], gives: type[T] | tuple[type[T], ...]) -> T:
        ended: Future[Any] = Future()
        task: asyncio.Task[None] | None = None

        async def act() -> None:
            try:
                ended.set_result(await call())
            except BaseException as error:
                ended.set_exception(self._failure(error))

        def begin() -> None:
            nonlocal task
            task = asyncio.ensure_future(act())
            task.add_done_callback(lambda _: ended.done() or ended.cancel())  # cancelled before it could begin

        loop = self._running()
        loop.call_soon_threadsafe(begin)
        waiting = asyncio.wrap_future(ended)
        try:
            result = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(lambda: task is None or task.cancel())
            _, late = await asyncio.wait((waiting,), timeout=ENDING_SECONDS)
            if late:
                log.error("a driver goes on with what was cancelled", extra={"driver": self.name})
            elif not waiting.cancelled():
                waiting.exception()
            raise
        if not isinstance(result, gives):
            raise StepFailed(f"the driver {self.name} gave {type(result).__name__} instead of what the protocol says")
        return result

    def _failure(self, error: BaseException) -> Exception:
        if isinstance(error, StepFailed | StepSuspended):
            return error
        log.error("a driver has failed unexpectedly", extra={"driver": self.name}, exc_info=error)
        return StepFailed(f"the driver {self.name} failed unexpectedly ({type(error).__name__})", retryable=True)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_run, args=(self._loop,), name=f"driver {self.name}", daemon=True).start()
        return self._loop


class ApartWithdrawing(Apart):
    """A driver that can take back what a suspended step has begun."""

    def __init__(self, driver: Withdrawing) -> None:
        super().__init__(driver)
        self._withdrawing = driver

    async def withdraw(self, work: StepWork) -> StepResult | None:
        async def withdraw() -> StepResult | None:
            return await self._withdrawing.withdraw(work)

        return await self._there(withdraw, (StepResult, type(None)))


def apart(driver: Driver) -> Driver:
    """The driver behind a wall."""
    return ApartWithdrawing(driver) if isinstance(driver, Withdrawing) else Apart(driver)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()
