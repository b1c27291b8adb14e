"""How a service stands, told to Prometheus: what every service has, and what this one counts of its own."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeAlias

from sqlalchemy import func, select
from sqlmodel import Session

from entresol_eventing.envelope import now
from entresol_eventing.store import deadline, outbox, parked
from entresol_eventing.telemetry import Metrics

COUNTING_PAUSE: Final = 200
"""A service rests for so many times as long as it has counted, in processor time, before it counts again."""

Show: TypeAlias = Callable[[Metrics, str, Session], None]
"""Counts for Prometheus what the service, whose name it is given, keeps."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Counts at one moment."""

    pending: int
    """Events that are committed and not published."""
    oldest_seconds: float
    """Age of the oldest of them."""
    parked: int
    """Messages that wait for a retry, or behind one."""
    parked_seconds: float
    """How long the oldest message of the park has been there, a dead one too."""
    dead: int
    deadlines: int
    overdue_seconds: float
    """How long ago the first deadline should have been answered."""


def standing(relayed: int, session: Session) -> Standing:
    """Count, given the position in the outbox up to which everything is published."""
    pending, oldest = session.execute(
        select(func.count(), func.min(outbox.c.recorded_at)).where(outbox.c.position > relayed)
    ).one()
    states = {row[0]: row[1] for row in session.execute(select(parked.c.state, func.count()).group_by(parked.c.state))}
    dead = states.pop("dead", 0)
    parked_since = session.execute(select(func.min(parked.c.parked_at))).scalar()
    waiting, due_at = session.execute(select(func.count(), func.min(deadline.c.due_at)).select_from(deadline)).one()
    return Standing(pending, _age(oldest), sum(states.values()), _age(parked_since), dead, waiting, _age(due_at))


def _age(since: datetime | None) -> float:
    return max(0.0, (now() - since).total_seconds()) if since else 0.0


class Gauges:
    """Those of one service."""

    def __init__(self, service: str, metrics: Metrics, show: Show | None) -> None:
        self._service = service
        self._metrics = metrics
        self._show = show
        self._show_at = 0.0

    async def measure(
        self, read: Callable[[Callable[[Session], Any]], Awaitable[Any]], relayed: int, lag_messages: int
    ) -> int:
        """Set all of them; return how many events are committed and not published."""
        found: Standing = await read(partial(standing, relayed))
        metrics = self._metrics
        for gauge, value in (
            (metrics.outbox_pending, found.pending),
            (metrics.outbox_oldest, found.oldest_seconds),
            (metrics.parked, found.parked),
            (metrics.parked_oldest, found.parked_seconds),
            (metrics.dead, found.dead),
            (metrics.deadlines, found.deadlines),
            (metrics.overdue, found.overdue_seconds),
            (metrics.lag, lag_messages),
        ):
            gauge.labels(self._service).set(value)
        if self._show is not None and time.monotonic() >= self._show_at:
            took: float = await read(partial(self._count, self._show))
            self._show_at = time.monotonic() + COUNTING_PAUSE * took
        return found.pending

    def _count(self, show: Show, session: Session) -> float:
        """Return the seconds of processor time that it took."""
        began = time.thread_time()
        show(self._metrics, self._service, session)
        return time.thread_time() - began
