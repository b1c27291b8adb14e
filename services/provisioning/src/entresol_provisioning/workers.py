"""The hands of provisioning: takes steps that are ready out of the store, lets drivers act, records what happened.

A step is acted on by one task at a time. Nothing is written before acting: `ready` is the intent already, so a step
that was ready when the worker started is handed over as one that may have been attempted.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from entresol_eventing.envelope import now
from entresol_eventing.failpoints import failpoint
from entresol_eventing.service import Service
from entresol_eventing.writer import Unavailable
from entresol_manifests.expressions import ExpressionError, Scope
from entresol_manifests.schemas import validator
from sqlmodel import Session

from entresol_provisioning import claims, holdings, plans, sparing, store
from entresol_provisioning.acting import act, withdraw
from entresol_provisioning.claims import Intent
from entresol_provisioning.domain.offering import HOW_TO_BE, RESOURCE, Step
from entresol_provisioning.domain.requests import next_delay_seconds
from entresol_provisioning.drivers import (
    Driver,
    PlanOutdated,
    StepFailed,
    StepResult,
    StepSuspended,
    StepWork,
)
from entresol_provisioning.holdings import Holder
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.plans import SKIPPED, outline
from entresol_provisioning.requirements import wanted
from entresol_provisioning.runs import Runs
from entresol_provisioning.scopes import filled, guard, is_fixed
from entresol_provisioning.settings import Settings
from entresol_provisioning.turns import Slots, suspects
from entresol_provisioning.verdicts import Verdict, Wait

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
BUSY_SECONDS = 0.003
"""Pause between two looks while steps run, so that what they record is looked at together."""
SHORTEST_LOOK_SECONDS = 0.05
WITHDRAW_SECONDS = 120.0
"""How long it is tried to take back what a step has begun that is given up."""
FINISH_SECONDS = 2.0
"""When the service stops, steps that run may still end by themselves for this long."""


class _Acting(NamedTuple):
    driver: str
    task: asyncio.Task[None]


class StepWorker:
    """Performs steps until it is cancelled."""

    def __init__(self, settings: Settings, offerings: Offerings, runs: Runs, drivers: Mapping[str, Driver]) -> None:
        self._settings = settings
        self._offerings = offerings
        self._runs = runs
        self._drivers = drivers
        fewer = {"exec": settings.exec_concurrency, "terraform": settings.terraform_concurrency}
        self._slots = Slots(settings.concurrency, fewer)
        self._capabilities = {name: driver.available() for name, driver in drivers.items()}

    async def work(self, service: Service) -> None:
        unsure = await service.read(suspects)
        acting: dict[tuple[str, str], _Acting] = {}
        try:
            async with service.commits.subscribe() as wake:
                while True:
                    # Only what ended before the next read begins: that read can't see it as ready any more.
                    for key in [key for key, one in acting.items() if one.task.done()]:
                        acting.pop(key).task.result()
                    for intent in await self._claim(service, {key: one.driver for key, one in acting.items()}):
                        lost = intent.key in unsure
                        unsure.discard(intent.key)
                        task = asyncio.create_task(self._perform(service, intent, lost))
                        acting[intent.key] = _Acting(intent.step.driver, task)
                    if acting:
                        await asyncio.sleep(BUSY_SECONDS)
                    await wake.wait(LOOK_SECONDS)
        finally:
            if acting:
                _, late = await asyncio.wait([one.task for one in acting.values()], timeout=FINISH_SECONDS)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
            for driver in self._drivers.values():
                await driver.close()

    async def _claim(self, service: Service, acting: Mapping[tuple[str, str], str]) -> list[Intent]:
        return await service.read(lambda session: claims.ready(session, self._offerings, self._slots, acting))

    async def _perform(self, service: Service, intent: Intent, lost: bool) -> None:
        verdict = await self._attempt(service, intent, lost)
        try:
            await self._record(service, verdict)
        except Exception:
            log.exception("the result of a step could not be recorded", extra={"step": verdict.step})
            try:
                message = "what the step gave could not be recorded; see the service's log"
                await self._record(service, sparing.verdict(intent, "failed", message=message, undo=verdict.undo))
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

    async def _attempt(self, service: Service, intent: Intent, lost: bool) -> Verdict:
        """Act, and say how it ended. Raises nothing but the cancellation.

        `lost`: it may have been tried by a process that did not live to say how that ended.
        """
        suspect = lost or intent.attempt > 1
        if intent.request.stopping and not suspect and not intent.memory:
            return sparing.verdict(intent, "dropped")
        undo: dict[str, Any] | None = None
        try:
            driver = self._drivers.get(intent.step.driver)
            if driver is None:
                raise StepFailed(f"the driver {intent.step.driver} is not installed here")
            scope = intent.variables(self._capabilities)
            if intent.fills:
                if intent.request.plans and (waits_for := sparing.unknown(intent)):
                    return sparing.verdict(intent, "succeeded", plan=sparing.after_apply(intent, waits_for))
                when = None if intent.given_up is not None else intent.step.when
                if when is not None and not await asyncio.to_thread(guard().holds, when, Scope(**scope)):
                    if intent.footprint is None or intent.request.action not in HOW_TO_BE:
                        return sparing.not_needed(intent)
                    intent = intent.taking_down()
                elif intent.held == SKIPPED:
                    raise PlanOutdated
            if intent.fills:
                with_ = dict(intent.step.with_)
                # What has to be evaluated may take a second; others' steps go on meanwhile.
                with_ = filled(with_, scope) if is_fixed(with_) else await asyncio.to_thread(filled, with_, scope)
                destination = await self._destination(service, with_)
            else:
                with_, destination = dict(intent.step.with_), intent.destination
            fingerprint = intent.fingerprint(with_, scope, destination)
            if sparing.is_unchanged(intent, fingerprint):
                return sparing.unchanged(intent)
            deadline = time.monotonic() + self._seconds(intent)
            others = partial(self._others, service, Holder(intent.request.resource_id, intent.step.name))
            work = intent.work(with_, scope, destination, deadline, attempted=suspect, others=others)
            undo = intent.undo(with_, destination)
            if intent.step.driver == RESOURCE:
                undo["needs_resource"] = wanted(work).resource_id
            async with asyncio.timeout(self._seconds(intent)):
                if intent.request.plans:
                    return await self._plan(intent, driver, work)
                failpoint("effect.before")
                try:
                    acted = await (act(intent.act, driver, work) if intent.given_up is None else withdraw(driver, work))
                except StepSuspended:
                    failpoint("effect.after")
                    raise
                failpoint("effect.after")
            if acted is None:
                return self._ended(intent, None)
            outputs = self._outputs(intent.step, acted.result)
            undo["fingerprint"] = fingerprint
            said = {"message": acted.result.message, "kept": acted.result.kept, "differences": acted.differences}
            return sparing.verdict(intent, "succeeded", outputs=outputs, undo=undo, **said)
        except StepSuspended as waits:
            return self._suspended(intent, waits, undo)
        except StepFailed as failure:
            if isinstance(failure, PlanOutdated) and intent.held is not None:
                # This attempt has touched nothing, but who knows what an earlier one has left half way.
                return sparing.verdict(intent, "outdated", message=failure.reason, undo=undo if suspect else None)
            asked = intent.step.driver != RESOURCE or intent.memory or intent.footprint is not None
            # What an earlier attempt may have left was written down when that ended.
            touched = lost or not failure.untouched
            return self._failed(intent, failure, undo if asked and touched else None)
        except ExpressionError as error:
            return self._failed(intent, StepFailed(str(error)), undo)
        except TimeoutError:
            return self._failed(intent, StepFailed(self._too_long(intent), retryable=not intent.memory), undo)
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
            return sparing.verdict(intent, "succeeded", plan=sparing.after_apply(intent, ", ".join(intent.step.needs)))
        told = outline(intent.step.name, intent.step.driver, plan)
        outputs = None
        if intent.step.driver == RESOURCE and plans.changes_nothing(told):
            outputs = (await driver.observe(work)).outputs
        return sparing.verdict(intent, "succeeded", plan=told, outputs=outputs or {})

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

    async def _others(self, service: Service, holder: Holder, addresses: Collection[str]) -> Mapping[str, str]:
        return await service.read(lambda session: holdings.others(session.connection(), holder, addresses))

    def _outputs(self, step: Step, result: StepResult) -> dict[str, Any]:
        try:
            size = len(json.dumps(result.outputs, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise StepFailed("its outputs are not JSON") from None
        if not isinstance(result.outputs, dict):
            raise StepFailed("its outputs are no object")
        if size > self._settings.outputs_bytes:
            raise StepFailed(f"its outputs exceed {self._settings.outputs_bytes // 1024} KiB")
        for name, schema in (step.outputs or {}).items():
            if name not in result.outputs:
                raise StepFailed(f"it has not given the output {name}, which its offering declares")
            error = next(validator({"properties": {name: schema}}).iter_errors({name: result.outputs[name]}), None)
            if error is not None:
                place = "".join(f"/{one}" for one in error.instance_path)
                raise StepFailed(f"its output {place} is not what its offering declares: {error.kind.name}")
        return result.outputs

    def _limit_seconds(self, intent: Intent) -> float:
        return intent.step.timeout_seconds or self._settings.step_timeout_seconds

    def _seconds(self, intent: Intent) -> float:
        """How long this attempt may take: of a step that was suspended, what is left of the whole."""
        limit = self._limit_seconds(intent)
        if intent.given_up is not None:
            return WITHDRAW_SECONDS
        if "until" not in intent.memory:
            return limit
        return max(0.0, min(limit, (datetime.fromisoformat(intent.memory["until"]) - now()).total_seconds()))

    def _too_long(self, intent: Intent) -> str:
        if intent.given_up is not None:
            return f"not done within {WITHDRAW_SECONDS:g} s"
        waits_for = f" ({intent.memory['reason']})" if intent.memory else ""
        return f"not done within {self._limit_seconds(intent):g} s{waits_for}"

    def _suspended(self, intent: Intent, waits: StepSuspended, undo: dict[str, Any] | None) -> Verdict:
        if intent.given_up is not None:
            return self._ended(intent, waits.reason)
        at = now()
        until = at + timedelta(seconds=self._seconds(intent))
        if until <= at:
            return self._failed(intent, StepFailed(self._too_long(intent)), undo)
        look_at: datetime | None = None
        if (after := waits.look_after_seconds) is not None:
            after = min(max(after, SHORTEST_LOOK_SECONDS), self._settings.retry_longest_seconds)
            look_at = min(until, at + timedelta(seconds=after))
        wait = Wait(
            reason=waits.reason,
            look_at=look_at,
            until=until,
            resumable=waits.resumable,
            memory=waits.memory,
            withdraws=waits.withdraws,
        )
        return sparing.verdict(intent, "suspended", message=waits.reason, wait=wait, undo=undo)

    def _failed(self, intent: Intent, failure: StepFailed, undo: dict[str, Any] | None) -> Verdict:
        if intent.given_up is not None:
            return self._ended(intent, failure.reason)
        retries = self._settings.retries if intent.step.retries is None else intent.step.retries
        if not failure.retryable or intent.attempt > retries:
            if intent.memory.get("withdraws"):
                return sparing.verdict(intent, "failed", message=failure.reason, undo=undo)
            return sparing.failed(intent, failure.reason, undo=undo)
        first = intent.step.backoff_seconds
        delay = next_delay_seconds(
            intent.attempt,
            random.random(),
            first=self._settings.retry_seconds if first is None else first,
            longest=self._settings.retry_longest_seconds,
        )
        return sparing.verdict(intent, "retrying", message=failure.reason, retry_after_seconds=delay, undo=undo)

    def _ended(self, intent: Intent, left: str | None) -> Verdict:
        """How a step ends that is given up, after what it had begun was taken back, or could not be."""
        given_up, name = intent.given_up or {}, intent.step.name
        said = f"what step {name} had begun was taken back"
        if left is not None:
            said = f"what step {name} had begun could not be taken back: {left}"
        if given_up["state"] == "dropped":
            return sparing.verdict(intent, "dropped", message=said, withdrawn=left is None)
        return sparing.failed(intent, f"{given_up['reason']}; {said}", withdrawn=left is None)
