"""The eyes of provisioning: compares resources with the world when it is time, and records what was seen.

Nothing is changed by looking. What is recorded of many looks goes into one transaction.
"""

import asyncio
import logging
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entresol_eventing.envelope import now
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.writer import Unavailable
from entresol_manifests.expressions import ExpressionError
from sqlmodel import Session

from entresol_provisioning import drifts, store
from entresol_provisioning.domain.graph import Impossible
from entresol_provisioning.domain.requests import Resource
from entresol_provisioning.drifts import Sight
from entresol_provisioning.drivers import Driver, Observation, StepFailed, StepWork
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.scopes import variables
from entresol_provisioning.settings import Settings
from entresol_provisioning.store import Footprint

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
BUSY_SECONDS = 0.003


@dataclass(frozen=True, slots=True)
class Subject:
    """A resource that is to be looked at, with all that it takes."""

    resource: Resource
    footprints: tuple[Footprint, ...]
    scopes: tuple[Mapping[str, Any], ...]
    """For each footprint, what its templates could read when it was made: of the request that made it."""


class Observer:
    """Looks at resources until it is cancelled."""

    def __init__(self, settings: Settings, offerings: Offerings, drivers: Mapping[str, Driver]) -> None:
        self._settings = settings
        self._offerings = offerings
        self._drivers = drivers
        self._capabilities = {name: driver.available() for name, driver in drivers.items()}

    async def work(self, service: Service) -> None:
        looking: dict[str, asyncio.Task[Sight]] = {}
        try:
            async with service.commits.subscribe() as wake:
                while True:
                    ended = {resource_id: task for resource_id, task in looking.items() if task.done()}
                    if ended:
                        await self._record(service, [task.result() for task in ended.values()])
                        for resource_id in ended:
                            del looking[resource_id]
                    free = self._settings.observe_concurrency - len(looking)
                    asked = await self._asked(service, frozenset(looking), free) if free else {}
                    for resource_id, subject in asked.items():
                        looking[resource_id] = asyncio.create_task(self._look(resource_id, subject))
                    if looking:
                        await asyncio.sleep(BUSY_SECONDS)
                        await asyncio.wait(looking.values(), timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    else:
                        await wake.wait(LOOK_SECONDS)
        finally:
            for task in looking.values():
                task.cancel()
            await asyncio.gather(*looking.values(), return_exceptions=True)

    async def _asked(self, service: Service, looking: frozenset[str], free: int) -> dict[str, Subject | None]:
        """Those that have been asked for the longest, with what it takes to look at them."""
        query = store.looks(free + len(looking))

        def read(session: Session) -> dict[str, Subject | None]:
            found = session.connection().execute(query).scalars().all()
            return {one: self._subject(session, one) for one in [one for one in found if one not in looking][:free]}

        return await service.read(read)

    async def _record(self, service: Service, seen: Sequence[Sight]) -> None:
        at = now()

        def unit(session: Session) -> Generator[Outcome, None, None]:
            connection = session.connection()
            for one in seen:
                resource = store.find_resource(connection, one.resource_id)
                digest = None if resource is None else resource.offering_digest
                try:
                    offering = self._offerings.get(connection, digest)
                except Impossible:
                    offering = None
                yield from drifts.record(connection, one, offering, at)

        while True:
            try:
                await service.transact(unit)
                return
            except Unavailable:
                await asyncio.sleep(1.0)

    async def _look(self, resource_id: str, subject: Subject | None) -> Sight:
        """Raises nothing but the cancellation."""
        at = now()
        if subject is None:
            return Sight(resource_id, 0, at, unknown="it is not there any more, or paused")
        try:
            looks = zip(subject.footprints, subject.scopes, strict=True)
            seen = await asyncio.gather(*(self._observe(subject.resource, *one) for one in looks))
        except StepFailed as failure:
            log.warning("a resource can't be observed", extra={"resource": resource_id, "reason": failure.reason})
            return Sight(resource_id, subject.resource.revision, at, unknown=failure.reason, passing=failure.retryable)
        found = list(zip(subject.footprints, seen, strict=True))
        return Sight(
            resource_id,
            subject.resource.revision,
            at,
            tuple(
                {"step": left.step, "path": one.path, "change": one.change}
                for left, each in found
                for one in each.differences
            ),
            tuple(left.step for left, each in found if not each.exists),
        )

    def _subject(self, session: Session, resource_id: str) -> Subject | None:
        connection = session.connection()
        resource = store.find_resource(connection, resource_id)
        if resource is None or not resource.exists or resource.paused is not None:
            return None
        left = tuple(store.footprints_of(connection, resource_id))
        outputs = {one.step: one.outputs or {} for one in left}
        latest = store.find_request(connection, resource.request_id)
        assert latest is not None
        requests = [store.find_run(connection, one.run_id) or latest for one in left]
        scopes = (
            variables(one.but(effective=resource.inputs), resource, outputs, self._capabilities) for one in requests
        )
        return Subject(resource, left, tuple(scopes))

    async def _observe(self, resource: Resource, left: Footprint, scope: Mapping[str, Any]) -> Observation:
        """Raises StepFailed, naming the step, and nothing else but the cancellation."""
        try:
            return await self._ask(resource, left, scope)
        except StepFailed as failure:
            raise StepFailed(f"step {left.step}: {failure.reason}", retryable=failure.retryable) from failure
        except ExpressionError as error:
            raise StepFailed(f"step {left.step}: {error}") from error
        except TimeoutError:
            reason = f"step {left.step}: no answer within {self._settings.observe_seconds:g} s"
            raise StepFailed(reason, retryable=True) from None
        except Exception as error:
            log.exception("a driver could not look", extra={"resource": resource.id, "step": left.step})
            reason = f"step {left.step}: the driver {left.driver} failed unexpectedly ({type(error).__name__})"
            raise StepFailed(reason, retryable=True) from error

    async def _ask(self, resource: Resource, left: Footprint, scope: Mapping[str, Any]) -> Observation:
        driver = self._drivers.get(left.driver)
        if driver is None:
            raise StepFailed(f"the driver {left.driver} is not installed here")
        seconds = self._settings.observe_seconds
        work = StepWork(
            request_id=resource.request_id,
            run_id=left.run_id,
            step=left.step,
            idempotency_key=f"{left.run_id}/{left.step}",
            action="observe",
            resource_id=resource.id,
            project=resource.project,
            environment=resource.environment,
            offering=resource.offering,
            name=resource.name,
            actor=scope["actor"]["id"],
            with_=left.with_,
            inputs=resource.inputs,
            scope=scope,
            previous=left.outputs,
            destination=left.destination,
            deadline=time.monotonic() + seconds,
        )
        async with asyncio.timeout(seconds):
            return await driver.observe(work)
