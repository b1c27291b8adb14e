"""The driver that runs a program which a platform engineer has installed: `exec`, with a contract of files.

The program finds `input/object.json`, and may write into `output/` and `status.json`; docs/drivers.md has the contract.

How often it has its effect: once, if only this service dies. Its supervisor goes on, holds the lock, and records the
end; the next attempt waits for that and takes the result. If the machine or the supervisor dies between the effect
and the record, nobody knows, and the program is started again with the same idempotency key and a higher attempt:
then it has to look for itself, unless `once` makes a person look. The same holds if it is stopped at its deadline.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from entresol_eventing.failpoints import failpoint
from entresol_manifests.digest import canonical

from entresol_provisioning.drivers import Observation, Plan, StepFailed, StepResult, StepWork, Touched, workspaces
from entresol_provisioning.drivers.contracts import contract
from entresol_provisioning.drivers.exec import answers, executions, orders
from entresol_provisioning.drivers.exec.executions import Execution
from entresol_provisioning.drivers.exec.orders import Order
from entresol_provisioning.drivers.processes import Ended, Limits, supervise, supervises
from entresol_provisioning.drivers.remains import Remains, discard
from entresol_provisioning.settings import Settings

NOT_SUPPORTED = 64
"""EX_USAGE: the exit code for an action that the program does not have."""
TRY_AGAIN = 75
"""EX_TEMPFAIL."""
OUTPUTS, PLAN, SEEN, STATUS = "output/outputs.json", "output/plan.json", "output/observation.json", "status.json"
_TOO_MUCH = {
    "cpu": "used more CPU time than it may",
    "memory": "used more memory than it may",
    "file": "wrote a larger file than it may",
    "disk": "wrote more than it may",
    "processes": "started more processes than it may",
}


class Exec:
    name = "exec"
    contract = contract(orders.Spec)

    def __init__(self, settings: Settings) -> None:
        self._programs = settings.programs
        self._root = settings.executions
        self._days = settings.executions_days
        self._limits = Limits(
            cpu_seconds=settings.exec_cpu_seconds,
            memory_bytes=settings.exec_memory_mib * 1024**2,
            file_bytes=settings.exec_file_mib * 1024**2,
            processes=settings.exec_processes,
        )
        self._turns = asyncio.Semaphore(settings.exec_concurrency)
        self._swept = False

    def available(self) -> bool:
        return supervises()

    async def close(self) -> None:
        pass

    async def plan(self, work: StepWork) -> Plan:
        order = orders.read(self._programs, work)
        async with self._turn(work) as lock:
            return await self._plan(work, order, lock)

    async def apply(self, work: StepWork) -> StepResult:
        return await self._bring_about(work, "apply")

    async def destroy(self, work: StepWork) -> StepResult:
        return await self._bring_about(work, "destroy")

    async def observe(self, work: StepWork) -> Observation:
        """What the program says in its observation.json; StepFailed if it says nothing.

        With `observes: false` there is nothing to ask: what was done is taken to be there until it is destroyed.
        """
        order = orders.read(self._programs, work)
        if not order.observes:
            return Observation(exists=work.previous is not None and not work.destroys)
        async with self._turn(work) as lock:
            ended, left = await self._look(work, order, lock, "observe")
            document = await self._answer(order, ended, left, SEEN)
        if document is None:
            remedy = "let it write output/observation.json, or give the step observes: false"
            raise StepFailed(f"the program {order.name} can't tell what is there; {remedy}")
        return answers.observed(document)

    async def _bring_about(self, work: StepWork, does: Literal["apply", "destroy"]) -> StepResult:
        order = orders.read(self._programs, work)
        round_ = _round(work)
        async with self._turn(work) as lock:
            home = workspaces.of(self._root, work).place
            execution = executions.of(home, does, work.idempotency_key, order.digest, round_)
            ended = execution.ended()
            if ended is None or not _is_final(ended):
                if order.once and execution.attempts and (ended is None or _is_in_the_dark(ended)):
                    remedy = "look at what it has done, and set it right by another request"
                    raise StepFailed(f"nobody knows how the program {order.name} ended; {remedy}")
                if work.approved is not None and not round_:
                    work.hold_to((await self._plan(work, order, lock, does)).digest)
                await asyncio.to_thread(self._make_room, home, execution)
                ended = await self._run(work, order, execution, lock, does)
            left = Remains(execution.work, order.secrets)
            return await asyncio.to_thread(_result, order, ended, left, execution, round_)

    async def _plan(self, work: StepWork, order: Order, lock: int, does: str = "") -> Plan:
        destroys = does == "destroy" if does else work.destroys
        ended, left = await self._look(work, order, lock, "plan", destroys=destroys)
        document = await self._answer(order, ended, left, PLAN)
        key = workspaces.digest_key(self._root)
        program = await asyncio.to_thread(orders.content_digest, order.path)

        def digest(plan: Any) -> str:
            told = {"program": program, "order": order.digest, "destroys": destroys, "plan": plan}
            return f"sha256:{hmac.new(key, canonical(told), 'sha256').hexdigest()}"

        if document is not None:
            return answers.planned(document, digest)
        # It can't tell; then all that is known is that it would be run.
        change: Literal["add", "change", "destroy"] = (
            "destroy" if destroys else "add" if work.previous is None else "change"
        )
        return Plan(
            digest=digest({"previous": None if work.previous is None else dict(work.previous)}),
            adds=change == "add",
            changes=change == "change",
            destroys=change == "destroy",
            summary=(f"run the program {order.name}, which does not tell what it would do",),
            resources=(Touched(work.resource_id, change),),
        )

    async def _look(
        self, work: StepWork, order: Order, lock: int, does: str, *, destroys: bool | None = None
    ) -> tuple[Ended, Execution]:
        """Run it where it must have no effect."""
        home = workspaces.of(self._root, work).place
        execution = Execution(home / "look")
        await asyncio.to_thread(discard, execution.place)
        execution.place.mkdir(parents=True, mode=0o700)
        return await self._run(work, order, execution, lock, does, destroys=destroys), execution

    async def _answer(self, order: Order, ended: Ended, execution: Execution, name: str) -> dict[str, Any] | None:
        """What it wrote when it was only to look; None if it can't do that."""
        left = Remains(execution.work, order.secrets)
        try:
            if ended.code == NOT_SUPPORTED:
                return None
            if ended.code != 0:
                raise await asyncio.to_thread(_failure, order, ended, left, execution)
            return await asyncio.to_thread(left.document, name)
        finally:
            await asyncio.to_thread(discard, execution.place)

    async def _run(
        self,
        work: StepWork,
        order: Order,
        execution: Execution,
        lock: int,
        does: str,
        *,
        destroys: bool | None = None,
    ) -> Ended:
        looks = does in ("plan", "observe")
        destroys = does == "destroy" or bool(destroys) or (does == "observe" and work.destroys)
        await asyncio.to_thread(execution.begin, orders.document(work, order, does, looks=looks, destroys=destroys))
        if not looks:
            failpoint("effect.middle")
        seconds = None if work.deadline == float("inf") else max(0.1, work.remaining_seconds)
        async with self._turns:
            return await supervise(
                (str(order.path), *order.arguments),
                env=orders.environment(order, execution.work, does, looks=looks, destroys=destroys),
                directory=execution.work,
                said=execution.place,
                ended=execution.record,
                limits=self._limits,
                seconds=seconds,
                facts={},
                keep_open=(lock,),
                dies_with_caller=looks,
            )

    def _make_room(self, home: Path, execution: Execution) -> None:
        if not self._swept:
            self._swept = True
            executions.sweep(self._root, self._days)
        executions.make(home, execution)

    @asynccontextmanager
    async def _turn(self, work: StepWork) -> AsyncIterator[int]:
        async with workspaces.locked(self._root, workspaces.of(self._root, work)) as lock:
            yield lock


def _is_final(ended: Ended) -> bool:
    """Whether the program itself has said how it went, and not that it should be tried again."""
    return ended.stopped is None and ended.code not in (None, TRY_AGAIN)


def _is_in_the_dark(ended: Ended) -> bool:
    """Whether it was started, and something else than itself has ended it."""
    return ended.error is None and ended.code != TRY_AGAIN


def _round(work: StepWork) -> int:
    found = work.memory.get("round", 0)
    return found if isinstance(found, int) else 0


def _result(order: Order, ended: Ended, left: Remains, execution: Execution, round_: int) -> StepResult:
    if ended.code != 0:
        raise _failure(order, ended, left, execution)
    status: Mapping[str, Any] = left.document(STATUS) or {}
    if (waits := answers.suspension(status, round_)) is not None:
        raise waits
    outputs = left.document(OUTPUTS) or {}
    return StepResult(outputs, answers.said(status, "message"), answers.said(status, "kept"))


def _failure(order: Order, ended: Ended, left: Remains, execution: Execution) -> StepFailed:
    if ended.error is not None:
        return StepFailed(f"the program {order.name} can't be started: {ended.error}")
    if ended.stopped in _TOO_MUCH:
        return StepFailed(f"the program {order.name} {_TOO_MUCH[ended.stopped]}, and was stopped")
    if ended.stopped is not None:
        return StepFailed(f"the program {order.name} was not done in time, and was stopped", retryable=True)
    try:
        status = left.document(STATUS) or {}
    except StepFailed:
        status = {}
    how = f"with signal {ended.signal}" if ended.code is None else f"with exit code {ended.code}"
    words = answers.said(status, "message") or Remains(execution.place, order.secrets).last_words("err")
    reason = f"the program {order.name} failed {how}" + (f": {words}" if words else "")
    return StepFailed(reason, retryable=ended.code in (None, TRY_AGAIN))
