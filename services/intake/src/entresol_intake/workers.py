"""Intake's housekeeping: answers and deliveries that are too old to be repeated are forgotten."""

import asyncio
from collections.abc import Generator
from datetime import timedelta
from typing import Final

from entresol_eventing.envelope import now
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
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
        while True:
            await service.transact(self._unit)
            await asyncio.sleep(self._every_seconds)

    def _unit(self, session: Session) -> Generator[Outcome, None, None]:
        sweep(now(), self._keep_keys, self._keep_received, session)
        yield from ()
