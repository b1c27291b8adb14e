"""Bugs in the services themselves: at the door, in the decisions, in effects and in the picture."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace as changed
from datetime import datetime
from typing import Any

from entresol_catalog import app as catalog
from entresol_eventing.envelope import Event, now
from entresol_eventing.reactions import Outcome
from entresol_intake.http.desk import Desk
from entresol_intake.http.idempotency import Once
from entresol_notification import store as deliveries
from entresol_notification.domain import SYSTEM
from entresol_notification.workers import Courier, record
from entresol_policy import people
from entresol_policy.store import cases
from entresol_provisioning import store
from entresol_provisioning.domain.requests import RUNNING, Request
from entresol_provisioning.runs import Runs
from entresol_provisioning.verdicts import Verdict
from entresol_provisioning.workers import StepWorker
from sqlalchemy import Connection
from sqlmodel import Session

from tests.faults.planted.committing import deadlines_never_cancelled
from tests.faults.planted.seams import replace

WRITTEN_BEHIND_SECONDS = 0.05
LATER_SECONDS = 0.5


def accepted_before_commit() -> None:
    """The door answers 202, and stores the request in the background."""
    writing: set[asyncio.Task[Any]] = set()

    def make(transact: Any) -> Any:
        async def write_behind(self: Desk, unit: Any, actor: str) -> None:
            async def write() -> None:
                await asyncio.sleep(WRITTEN_BEHIND_SECONDS)
                await transact(self, unit, actor)

            writing.add(asyncio.create_task(write()))

        return write_behind

    replace(Desk, "transact", make)


def idempotency_key_ignored() -> None:
    """The same ask under the same Idempotency-Key is a new request."""
    replace(Once, "before", lambda _: lambda *arguments: None)
    replace(Once, "remember", lambda _: lambda *arguments: None)


def expiry_unguarded() -> None:
    """An approval expires when its deadline comes, whatever was answered by then."""
    replace(people, "_pending", lambda _: lambda session, due: cases.question(session, due.args["approval"]))
    deadlines_never_cancelled()


def end_in_two_transactions() -> None:
    """How a step ended is committed, and what follows from it is said a moment later."""

    def make(_: Any) -> Any:
        async def twice(self: Any, service: Any, verdict: Verdict) -> None:
            at, said = now(), list[Outcome]()

            def write(session: Session) -> Iterator[Outcome]:
                said.extend(self._runs.record(session, verdict, at))
                yield from ()

            await service.transact(write)
            await asyncio.sleep(LATER_SECONDS)
            await service.transact(lambda _: iter(said))

        return twice

    replace(StepWorker, "_record", make)


def second_verdict_counted() -> None:
    """How a step ended is recorded without a look at whether it has ended already."""

    def unguarded(record_: Any) -> Any:
        def anyway(self: Runs, session: Session, verdict: Verdict, at: datetime) -> Iterator[Outcome]:
            find, change = store.find_run, store.change_step
            request = find(session.connection(), verdict.run_id)
            if request is not None and request.state != RUNNING:
                verdict = changed(verdict, known=True)  # or its footprint, which is there, would be one too many

            def still_running(connection: Connection, run_id: str) -> Request | None:
                found = find(connection, run_id)
                return found and found.but(state=RUNNING)

            def changes(*arguments: Any, **values: Any) -> bool:
                change(*arguments, **values)
                return True

            store.find_run, store.change_step = still_running, changes
            try:
                yield from record_(self, session, verdict, at)
            finally:
                store.find_run, store.change_step = find, change

        return anyway

    replace(Runs, "record", unguarded)


def cancellation_ignored() -> None:
    """A request that is running can't be cancelled."""

    def make(cancel: Any) -> Any:
        def unless_running(self: Runs, connection: Any, request: Request, *rest: Any) -> Iterator[Outcome]:
            if request.state != RUNNING:
                yield from cancel(self, connection, request, *rest)

        return unless_running

    replace(Runs, "cancel", make)


def delivered_before_it_was() -> None:
    """A delivery is recorded as done before it is made, so that it is made at most once."""

    def remember(work_off: Any) -> Any:
        async def knowing_the_service(self: Any, service: Any, *rest: Any) -> None:
            self.service = service
            await work_off(self, service, *rest)

        return knowing_the_service

    def make(attempt: Any) -> Any:
        async def record_first(self: Any, channel: Any, waiting: deliveries.Waiting) -> deliveries.Result:
            done = deliveries.Result("delivered", now(), 0, "", now())
            await self.service.transact(record(waiting, done), actor=SYSTEM, cause=waiting.cause)
            result: deliveries.Result = await attempt(self, channel, waiting)
            return result

        return record_first

    replace(Courier, "_work_off", remember)
    replace(Courier, "_attempt", make)


def batch_folded_by_type() -> None:
    """The events of a batch are folded into the picture kind by kind, not in the order of the log."""

    def make(projection: Any) -> Any:
        def by_type(*arguments: Any) -> Any:
            project = projection(*arguments)

            def fold(events: Sequence[Event[Any]], session: Session) -> Any:
                return project(sorted(events, key=lambda one: one.type), session)

            return fold

        return by_type

    replace(catalog, "projection", make)
