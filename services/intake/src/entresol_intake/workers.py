"""Intake's housekeeping: answers and deliveries that are too old to be repeated are forgotten.

What is too old is counted while intake runs, not read from the wall clock: a clock that jumps a day ahead must not
turn a repeated ask into a second request.
"""

import asyncio
import time
from collections.abc import Generator
from datetime import timedelta
from functools import partial
from typing import Final

from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.upkeep import horizon
from sqlmodel import Session

from entresol_intake.settings import Settings
from entresol_intake.store import sweep

EVERY_SECONDS: Final = 3600.0


def sweeping(settings: Settings, *, every_seconds: float = EVERY_SECONDS) -> "Sweep":
    return Sweep(timedelta(hours=settings.idempotency_hours), timedelta(days=settings.received_days), every_seconds)


class Sweep:
    """Runs at once and then every hour."""

    def __init__(self, keep_keys: timedelta, keep_received: timedelta, every_seconds: float) -> None:
        self._keep_keys = keep_keys
        self._keep_received = keep_received
        self._every_seconds = every_seconds

    async def __call__(self, service: Service) -> None:
        swept_at = time.monotonic()
        while True:
            moment = time.monotonic()
            await service.transact(partial(self._unit, moment - swept_at))
            swept_at = moment
            await asyncio.sleep(self._every_seconds)

    def _unit(self, ran_seconds: float, session: Session) -> Generator[Outcome, None, None]:
        answered_before = horizon("keys", self._keep_keys, ran_seconds, session)
        sweep(answered_before, horizon("received", self._keep_received, ran_seconds, session), session)
        yield from ()
