"""The hands of provisioning: takes steps that are ready out of the store, lets drivers act, records what happened.

A step is acted on by one task at a time. Nothing is written before acting: `ready` is the intent already, so a step
that was ready when the worker started is handed over as one that may have been attempted.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from entresol_eventing.envelope import now
from entresol_eventing.failpoints import failpoint
from entresol_eventing.service import Service
from entresol_eventing.writer import Unavailable
from entresol_manifests.expressions import ExpressionError, Scope, compile_expression, placeholders
from sqlmodel import Session

from entresol_provisioning import claims, store
from entresol_provisioning.claims import Intent
from entresol_provisioning.domain.requests import next_delay_seconds
from entresol_provisioning.drivers import Driver, PlanOutdated, StepFailed, StepResult, StepWork
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.plans import SKIPPED, after_apply, outline
from entresol_provisioning.runs import Runs
from entresol_provisioning.scopes import VERBATIM, filled
from entresol_provisioning.settings import Settings
from entresol_provisioning.verdicts import Verdict

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
BUSY_SECONDS = 0.003
"""Pause between two looks while steps run, so that what they record is looked at together."""
FINISH_SECONDS = 2.0
"""When the service stops, steps that run may still end by themselves for this long."""


class StepWorker:
    """Performs steps until it is cancelled."""

    def __init__(self, settings: Settings, offerings: Offerings, runs: Runs, drivers: Mapping[str, Driver]) -> None:
        self._settings = settings
        self._offerings = offerings
        self._runs = runs
        self._drivers = drivers
        self._capabilities = {name: driver.available() for name, driver in drivers.items()}

    async def work(self, service: Service) -> None:
        suspects = await service.read(claims.suspects)
        acting: dict[tuple[str, str], asyncio.Task[None]] = {}
        try:
            async with service.commits.subscribe() as wake:
                while True:
                    # Only what ended before the next read begins: that read can't see it as ready any more.
                    for key in [key for key, task in acting.items() if task.done()]:
                        acting.pop(key).result()
                    if len(acting) < self._settings.concurrency:
                        for intent in await self._claim(service, frozenset(acting)):
                            suspect = intent.key in suspects or intent.attempt > 1
                            suspects.discard(intent.key)
                            acting[intent.key] = asyncio.create_task(self._perform(service, intent, suspect))
                    if acting:
                        await asyncio.sleep(BUSY_SECONDS)
                    await wake.wait(LOOK_SECONDS)
        finally:
            if acting:
                _, late = await asyncio.wait(acting.values(), timeout=FINISH_SECONDS)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
            for driver in self._drivers.values():
                await driver.close()

    async def _claim(self, service: Service, acting: frozenset[tuple[str, str]]) -> list[Intent]:
        free = self._settings.concurrency - len(acting)
        return await service.read(lambda session: claims.ready(session, self._offerings, acting, free))

    async def _perform(self, service: Service, intent: Intent, suspect: bool) -> None:
        verdict = await self._attempt(service, intent, suspect)
        try:
            await self._record(service, verdict)
        except Exception:
            log.exception("the result of a step could not be recorded", extra={"step": verdict.step})
            try:
                message = "what the step gave could not be recorded; see the service's log"
                await self._record(service, _verdict(intent, "failed", message=message, undo=verdict.undo))
            except Exception:
                log.exception("a step is tried again", extra={"step": verdict.step})
                await asyncio.sleep(LOOK_SECONDS)

    async def _record(self, service: Service, verdict: Verdict) -> None:
        at, attempt = now(), 0
        while True:
            try:
                await service.transact(lambda session: self._runs.record(session, verdict, at))
                return
            except Unavailable:
                attempt += 1
                await asyncio.sleep(next_delay_seconds(attempt, random.random(), first=0.1, longest=5))

    async def _attempt(self, service: Service, intent: Intent, suspect: bool) -> Verdict:
        """Act, and say how it ended. Raises nothing but the cancellation."""
        if intent.request.stop is not None and not suspect:
            return _verdict(intent, "dropped")
        undo: dict[str, Any] | None = None
        try:
            driver = self._drivers.get(intent.step.driver)
            if driver is None:
                raise StepFailed(f"the driver {intent.step.driver} is not installed here")
            scope = intent.variables(self._capabilities)
            if not intent.request.destroys:
                if intent.request.plans and (waits_for := _unknown(intent, scope)):
                    return _verdict(intent, "succeeded", plan=_after_apply(intent, waits_for))
                if intent.step.when is not None and not compile_expression(intent.step.when).holds(Scope(**scope)):
                    if intent.held not in (None, SKIPPED):
                        raise PlanOutdated
                    return _verdict(intent, "skipped", message=f"not needed: {intent.step.when}")
                if intent.held == SKIPPED:
                    raise PlanOutdated
                with_ = filled(dict(intent.step.with_), scope)
                destination = await self._destination(service, with_)
            else:
                with_, destination = dict(intent.step.with_), intent.destination
            timeout = intent.step.timeout_seconds or self._settings.step_timeout_seconds
            work = intent.work(with_, scope, destination, time.monotonic() + timeout, attempted=suspect)
            undo = intent.undo(with_, destination)
            async with asyncio.timeout(timeout):
                if intent.request.plans:
                    return await self._plan(intent, driver, work)
                failpoint("effect.before")
                result = await (driver.destroy(work) if intent.request.destroys else driver.apply(work))
                failpoint("effect.after")
            return _verdict(intent, "succeeded", message=result.message, outputs=self._outputs(result), undo=undo)
        except StepFailed as failure:
            if isinstance(failure, PlanOutdated) and intent.held is not None:
                # This attempt has touched nothing, but who knows what an earlier one has left half way.
                return _verdict(intent, "outdated", message=failure.reason, undo=undo if suspect else None)
            return self._failed(intent, failure, undo)
        except ExpressionError as error:
            return self._failed(intent, StepFailed(str(error)), undo)
        except TimeoutError:
            seconds = intent.step.timeout_seconds or self._settings.step_timeout_seconds
            return self._failed(intent, StepFailed(f"not done within {seconds:g} s", retryable=True), undo)
        except Exception as error:
            log.exception("a driver has failed unexpectedly", extra={"driver": intent.step.driver})
            reason = f"the driver {intent.step.driver} failed unexpectedly ({type(error).__name__})"
            return self._failed(intent, StepFailed(reason, retryable=True), undo)

    async def _plan(self, intent: Intent, driver: Driver, work: StepWork) -> Verdict:
        try:
            plan = await driver.plan(work)
        except StepFailed as failure:
            if not failure.unknown or not intent.step.needs:
                raise
            return _verdict(intent, "succeeded", plan=_after_apply(intent, ", ".join(intent.step.needs)))
        return _verdict(intent, "succeeded", plan=outline(intent.step.name, intent.step.driver, plan))

    async def _destination(self, service: Service, with_: Mapping[str, Any]) -> dict[str, Any] | None:
        name = with_.get("destination")
        if name is None:
            return None

        def query(session: Session) -> dict[str, Any] | None:
            return store.find_destination(session.connection(), str(name))

        spec = await service.read(query)
        if spec is None:
            raise StepFailed(f"there is no destination {name}; apply its manifest")
        return spec

    def _outputs(self, result: StepResult) -> dict[str, Any]:
        try:
            size = len(json.dumps(result.outputs, allow_nan=False))
        except (TypeError, ValueError):
            raise StepFailed("its outputs are not JSON") from None
        if size > self._settings.outputs_bytes:
            raise StepFailed(f"its outputs exceed {self._settings.outputs_bytes // 1024} KiB")
        return result.outputs

    def _failed(self, intent: Intent, failure: StepFailed, undo: dict[str, Any] | None) -> Verdict:
        retries = self._settings.retries if intent.step.retries is None else intent.step.retries
        if not failure.retryable or intent.attempt > retries:
            return _verdict(intent, "failed", message=failure.reason, undo=undo)
        delay = next_delay_seconds(
            intent.attempt,
            random.random(),
            first=self._settings.retry_seconds,
            longest=self._settings.retry_longest_seconds,
        )
        return _verdict(intent, "retrying", message=failure.reason, retry_after_seconds=delay, undo=undo)


def _verdict(intent: Intent, state: Any, **fields: Any) -> Verdict:
    known = intent.previous is not None
    return Verdict(*intent.key, attempt=intent.attempt, state=state, known=known, **fields)


def _unknown(intent: Intent, scope: Mapping[str, Any]) -> str:
    """Steps whose outputs this one needs to be planned, and which are only known after they were applied."""
    texts = [source for _, source in placeholders(dict(intent.step.with_), verbatim=VERBATIM)]
    if intent.step.when is not None:
        texts.append(intent.step.when)
    missing = [name for name in intent.step.needs if name not in scope["steps"]]
    if missing and any("steps" in compile_expression(text).names() for text in texts):
        return ", ".join(missing)
    return ""


def _after_apply(intent: Intent, waits_for: str) -> dict[str, Any]:
    return after_apply(intent.step.name, intent.step.driver, waits_for, there=intent.previous is not None)
