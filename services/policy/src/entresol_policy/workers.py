"""Policy's housekeeping: requests that ended long ago are forgotten, with what people were asked about them.

History stays on the log, and with the catalog. How old something is is counted while policy runs, not read from the
wall clock. Locks, waivers and what counts in quotas go with their ends.
"""

import asyncio
import contextlib
import time
from collections.abc import Generator
from datetime import timedelta
from functools import partial
from typing import Final

from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.upkeep import horizon
from entresol_eventing.writer import Unavailable
from sqlmodel import Session

from entresol_policy.store import cases

EVERY_SECONDS: Final = 3600.0
AT_ONCE: Final = 500
"""Requests that are forgotten in one transaction."""


class Sweep:
    """Runs at once and then every hour."""

    def __init__(self, keep: timedelta) -> None:
        self._keep = keep

    async def work(self, service: Service) -> None:
        swept_at = time.monotonic()
        while True:
            with contextlib.suppress(Unavailable):
                swept = AT_ONCE
                while swept == AT_ONCE:
                    moment = time.monotonic()
                    swept = await service.transact(partial(self.unit, moment - swept_at))
                    swept_at = moment
            await asyncio.sleep(EVERY_SECONDS)

    def unit(self, ran_seconds: float, session: Session) -> Generator[Outcome, None, int]:
        """Forget some; return how many."""
        yield from ()
        return cases.sweep(session, horizon("requests", self._keep, ran_seconds, session), AT_ONCE)
