"""Telling a service's workers and streams that its state has changed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Wake:
    """Returns from `wait` when something was committed since the last wait, or when the time is over."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> None:
        # Not wait_for: on Python 3.11 it can swallow a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._event.wait()
        self._event.clear()


class Commits:
    """Tells whoever subscribed that the service's state has changed."""

    def __init__(self) -> None:
        self._wakes: set[Wake] = set()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Wake]:
        wake = Wake()
        self._wakes.add(wake)
        try:
            yield wake
        finally:
            self._wakes.discard(wake)

    def announce(self) -> None:
        for wake in self._wakes:
            wake.set()
