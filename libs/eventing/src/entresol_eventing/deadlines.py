"""Deadlines: rows that say when to look again. When one is due, the service's own handler decides what follows.

A deadline is never published by itself: between its time and its publication the state may have changed (an
approval granted in the last second). So it is taken out, judged against the state and answered in one transaction.

A deadline that is a date follows the wall clock, wherever it is set to: that is what a date means. One that is a wait
(a retry) is over at the latest when its time is, also if the clock is set back meanwhile.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlmodel import Session

from entresol_eventing.envelope import Cause, now
from entresol_eventing.reactions import Due, Reactions
from entresol_eventing.store import deadline
from entresol_eventing.units import LONGEST_BACKOFF_SECONDS, Job, Recorded, backoff

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 30.0
"""At most this long between two looks, so that a jump of the clock is noticed soon."""


def due(longest_waits: Mapping[str, float], session: Session) -> tuple[list[str], float]:
    """Return the keys whose time has come, and the seconds until the next one's."""
    moment = now()
    query = select(deadline.c.key).where(_come(longest_waits, moment)).order_by(deadline.c.due_at).limit(200)
    keys = list(session.execute(query).scalars())
    upcoming = session.execute(select(func.min(deadline.c.due_at))).scalar()
    wait = LONGEST_WAIT_SECONDS if upcoming is None else max(0.001, (upcoming - moment).total_seconds())
    return keys, min(wait, LONGEST_WAIT_SECONDS)


def _come(longest_waits: Mapping[str, float], moment: datetime) -> ColumnElement[bool]:
    """A date has come when it is past. A wait has also come when more than all of it seems to be left."""
    beyond = (
        (deadline.c.kind == kind) & (deadline.c.due_at > moment + timedelta(seconds=seconds))
        for kind, seconds in longest_waits.items()
    )
    failed = (deadline.c.attempts > 0) & (deadline.c.due_at > moment + timedelta(seconds=LONGEST_BACKOFF_SECONDS))
    return or_(deadline.c.due_at <= moment, failed, *beyond)


@dataclass(slots=True)
class DueJob:
    """One deadline that has come."""

    reactions: Reactions
    key: str

    def run(self, session: Session, recorded: Recorded) -> bool:
        """Return whether the deadline was still there."""
        come = _come(self.reactions.longest_waits, now())
        row = session.execute(select(deadline).where(deadline.c.key == self.key, come)).first()
        if row is None:
            return False
        session.execute(delete(deadline).where(deadline.c.key == self.key))
        cause = Cause.model_validate(row.cause)
        answered = Due(row.key, row.kind, row.due_at, row.args, cause)
        recorded.add(self.reactions.when_due[row.kind](answered, session), cause)
        return True

    def split(self) -> Sequence[Job]:
        return (self,)

    def failed(self, error: Exception, session: Session, recorded: Recorded) -> None:
        """Look again later; a deadline is never given up."""
        log.error("a deadline could not be answered and is tried again", extra={"key": self.key}, exc_info=error)
        attempts = session.execute(select(deadline.c.attempts).where(deadline.c.key == self.key)).scalar() or 0
        due_at = now() + timedelta(seconds=backoff(attempts + 1, random.random()))
        session.execute(update(deadline).where(deadline.c.key == self.key).values(attempts=attempts + 1, due_at=due_at))
