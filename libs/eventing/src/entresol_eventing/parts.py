"""The parts of a service that run side by side: each begins again when it fails, until all are ended."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import nats.errors

from entresol_eventing.units import backoff

log = logging.getLogger(__name__)


class Parts:
    """Tasks of one service."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Run it until it returns; again, ever later, each time that it fails: a database may be away for a while."""
        task = asyncio.create_task(self._keep(work, name), name=f"{self._service}-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        attempt = 0
        while True:
            try:
                await work()
                return
            except Exception as error:
                attempt += 1
                log.warning(
                    "a part of the service has failed and begins again",
                    extra={"service": self._service, "part": name, "reason": repr(error)},
                    exc_info=None if isinstance(error, nats.errors.Error | OSError) else error,
                )
                await asyncio.sleep(backoff(attempt, random.random(), most_seconds=5))

    def cancel(self) -> None:
        """Tell all to end, and don't wait."""
        for task in self._tasks:
            task.cancel()

    async def end(self) -> None:
        """Return when all have ended."""
        pending = set(self._tasks)
        while pending:
            for task in pending:
                task.cancel()
            # Again after a while: a cancellation that comes as a time-out does can be swallowed by the client library.
            _, pending = await asyncio.wait(pending, timeout=0.5)
