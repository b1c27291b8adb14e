"""Bugs in reading the log: positions, copies, gaps, and what becomes of messages that can't be handled."""

from collections.abc import Sequence
from typing import Any

from entresol_eventing import consumer, log, parking
from entresol_eventing.consumer import BatchJob
from entresol_eventing.log import Subscription
from entresol_eventing.service import Service
from entresol_eventing.store import parked
from entresol_eventing.units import Recorded
from nats.js.api import DeliverPolicy
from sqlalchemy import delete
from sqlmodel import Session

from tests.faults.planted.seams import replace


def copies_unnoticed() -> None:
    """The inbox is written, and never looked into."""
    replace(consumer, "_seen", lambda _: lambda events, connection: set())


def inbox_unwritten() -> None:
    """The inbox is looked into, and never written."""

    class Forgetful:
        def many(self, connection: Any, rows: Any) -> None:
            return

    replace(consumer, "_REMEMBER", lambda _: Forgetful())


def read_from_now_on() -> None:
    """After a start the log is read from now on, not from where the service was."""

    def make(config: Any) -> Any:
        return lambda **fields: config(
            **{**fields, "deliver_policy": DeliverPolicy.NEW, "opt_start_seq": None},
        )

    replace(log, "ConsumerConfig", make)


def position_one_too_far() -> None:
    """The saved position is that of the next message, and reading begins behind it."""

    def make(run: Any) -> Any:
        def off_by_one(self: BatchJob, session: Session, recorded: Recorded) -> int:
            count: int = run(self, session, recorded)
            recorded.cursors[self.consumer] += 1
            return count

        return off_by_one

    replace(BatchJob, "run", make)


def gap_ignored() -> None:
    """A delivery that is missing is not missed."""

    def make(receive: Any) -> Any:
        async def whatever_comes(self: Any, delivered: Sequence[Any]) -> None:
            for one in delivered:
                self._expected = one.sequences[1]
                await receive(self, [one])

        return whatever_comes

    replace(Subscription, "_receive", make)


def failure_swallowed() -> None:
    """A message whose handler fails is logged and left behind."""

    def make(_: Any) -> Any:
        def go_on(self: BatchJob, error: Exception, session: Session, recorded: Recorded) -> None:
            recorded.cursors[self.consumer] = self.messages[-1].position

        return go_on

    replace(BatchJob, "failed", make)


def rest_of_batch_dropped() -> None:
    """When a message of a batch fails, the ones after the first are given up with it."""
    replace(BatchJob, "split", lambda split: lambda self: split(self)[:1])


def parked_key_forgotten() -> None:
    """Later events of a key are handled while an earlier one still waits for its retry."""
    replace(consumer, "_by_key", lambda _: lambda events, keys: (events, []))


def park_in_memory() -> None:
    """What waits for a retry does not survive a restart."""

    def make(begin: Any) -> Any:
        async def afresh(self: Service) -> None:
            with self.database.writer.connect() as connection, connection.begin():
                connection.execute(delete(parked).where(parked.c.state != "dead"))
            await begin(self)

        return afresh

    replace(Service, "_begin", make)


def dead_letter_deleted() -> None:
    """After its last attempt a message is removed."""

    def make(give_up: Any) -> Any:
        def bury(row: Any, reason: str, attempts: int, session: Session, *rest: Any) -> None:
            give_up(row, reason, attempts, session, *rest)
            session.execute(delete(parked).where(parked.c.position == row.position))

        return bury

    replace(parking, "_give_up", make)
