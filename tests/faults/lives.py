"""Lives of resources whose runs are broken off: made, changed and deleted, with a crash of provisioning in each.

Provisioning is a process of its own with a bus of its own; whoever drives it says what intake and policy would say.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import nats.errors
from entresol_contracts import Payload
from entresol_contracts.events import (
    Actor,
    ManifestApplied,
    PlanRequested,
    RequestAllowed,
    RequestSubmitted,
    ResumeRequested,
)
from entresol_eventing.envelope import Event, decode, encode, log_subject, new_id, types_by_model
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.testing import event, make_streams
from entresol_manifests.digest import digest

from tests.faults.counting import COUNTED, visits
from tests.faults.grounds import SIZES, Ground
from tests.faults.judge.findings import DOUBLED, LOST, STUCK, UNEXPLAINED, Finding
from tests.faults.leftovers import held, processes
from tests.forks import PLANTED, Process, await_end, fork_server

END_SECONDS = 60.0
AFTER_SECONDS = 0.25
"""How long after the end of a run the process may still come by a place."""
GONE_SECONDS = 10.0
ENDS = ("RunSucceeded", "RunFailed", "RunCancelled")
TROUBLE = ("MessageQuarantined", "MessageParked")


COUNT = "count"
"""Instead of a place: nothing crashes, and it is counted how often the process comes by each."""


class Places(Protocol):
    """Where the process is to crash, run by run."""

    @property
    def left(self) -> bool: ...

    def take(self, action: str) -> str:
        """The failpoint for a run of the action, or COUNT; empty: none."""
        ...

    def counted(self, action: str, visits: Counter[str]) -> None:
        """How often the process came by each failpoint in an undisturbed run of the action."""
        ...

    def came(self, action: str, place: str, *, crashed: bool) -> None:
        """Whether the process came there."""
        ...


@dataclass
class Worker:
    """The process of provisioning."""

    environment: dict[str, str]
    output: Path
    _process: Process | None = None

    def start(self, failpoint: str = "", counted: Path | None = None) -> None:
        """With a file it comes by every failpoint, and the file then says by which."""
        module = "entresol_provisioning.app" if counted is None else "tests.faults.counting"
        more = {"ENTRESOL_PROVISIONING_FAILPOINT": failpoint, COUNTED: str(counted)}
        self._process = fork_server().start(f"{module}:main", {**os.environ, **self.environment, **more}, self.output)

    @property
    def status(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        if self._process is not None and self.status is None:
            os.kill(self._process.pid, signal.SIGKILL)
            await_end(self._process, GONE_SECONDS)


@dataclass
class Run:
    """One request and what was heard of it."""

    action: str
    name: str
    request_id: str
    run_id: str = ""
    ends: list[Event[Any]] = field(default_factory=list)


@dataclass
class Lives:
    """Resources of one ground, one after the other."""

    ground: Ground
    worker: Worker
    connection: Any
    heard: Any
    patience_seconds: float
    found: list[Finding] = field(default_factory=list)
    crashes: Counter[str] = field(default_factory=Counter)
    """By place."""
    runs: dict[str, Run] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    async def live(self, name: str, places: Places) -> None:
        """Make, change and delete a resource, and look at the world after each."""
        for action in self.ground.actions:
            place = places.take(action)
            self.worker.kill()
            counted = self.ground.scratch / f"counted-{action}" if place == COUNT else None
            self.worker.start(f"{place}=crash" if place and counted is None else "", counted)
            run = await self._ask(action, name)
            crashed = await self._end(run, place)
            if crashed:
                self.crashes[place.partition("@")[0]] += 1
            if counted is not None:
                places.counted(action, await asyncio.to_thread(visits, counted))
            elif place:
                places.came(action, place, crashed=crashed)
            where = f"{action} of {name}" + (f", broken off at {place}" if crashed else "")
            self.found += await asyncio.to_thread(self._judged, run, where)
            if self.found:
                return

    async def _ask(self, action: str, name: str) -> Run:
        """A create is planned and approved first."""
        run = Run(action, name, new_id())
        self.runs[run.request_id] = run
        inputs = {} if action == "delete" else {"size": SIZES[action]}
        await self._submit(run, "thing", inputs)
        names = _names(run.request_id, "thing", name)
        await self._say(PlanRequested(**names) if action == "create" else RequestAllowed(**names, verdicts=[]))
        return run

    async def _submit(self, run: Run, offering: str, inputs: dict[str, Any], **more: Any) -> None:
        place = {"environment": "dev", "offering": offering, "offering_version": "1.0.0", "name": run.name}
        actor = Actor(id="user:ada", groups=[])
        names = _names(run.request_id, offering, run.name)
        await self._say(RequestSubmitted(**names, **place, action=run.action, inputs=inputs, actor=actor, **more))

    async def _end(self, run: Run, place: str) -> bool:
        """Return when the run has ended, or the time is over; whether the process has crashed where it was to."""
        crashed = False
        deadline = time.monotonic() + self.patience_seconds
        settled_at = float("inf")
        while time.monotonic() < min(deadline, settled_at):
            if (status := self.worker.status) is not None:
                if status != -signal.SIGKILL or crashed or not place:
                    self.found.append(Finding(STUCK, f"provisioning ended with {status} on the way to {place}"))
                    return crashed
                crashed = True
                self.worker.start()
                deadline = time.monotonic() + self.patience_seconds
            try:
                message = await self.heard.next_msg(timeout=0.02)
            except (TimeoutError, nats.errors.TimeoutError):
                pass
            else:
                await self._hear(decode(message.data))
            if run.ends and settled_at == float("inf"):
                settled_at = time.monotonic() + (AFTER_SECONDS if place and not crashed else 0.0)
        return crashed

    async def _hear(self, heard: Event[Any]) -> None:
        if heard.id in self._known:
            return
        self._known.add(heard.id)
        said, kind = heard.data, type(heard.data).__name__
        if kind in TROUBLE:
            self.found.append(Finding(STUCK, f"{kind}: {getattr(said, 'reason', '')}"))
        run = self.runs.get(getattr(said, "request_id", ""))
        if run is None:
            return
        if kind == "RunStarted":
            run.run_id = said.run_id
        elif kind == "RunPlanned":
            names = _names(run.request_id, said.resource_id.split("/")[2], run.name)
            await self._say(RequestAllowed(**names, verdicts=[], plan_digest=said.digest))
        elif kind == "RunSuspended" and said.resumable:
            names = _names(run.request_id, "thing", run.name)
            await self._say(ResumeRequested(**names, step=said.step, by="user:ada"))
        elif kind == "RequirementRequested":
            child = Run(said.action, said.wanted.name, said.for_request_id)
            self.runs[child.request_id] = child
            needed_by = {"request_id": run.request_id, "resource_id": said.resource_id, "name": said.name}
            await self._submit(child, said.wanted.offering, dict(said.wanted.inputs or {}), requirement=needed_by)
            names = _names(child.request_id, said.wanted.offering, child.name)
            await self._say(RequestAllowed(**names, verdicts=[]))
        elif kind in ENDS:
            run.ends.append(heard)

    async def _say(self, data: Payload) -> None:
        known = types_by_model()[type(data)]
        envelope = event(data)
        subject = log_subject(known.publisher, known, envelope.subject)
        await self.connection.jetstream().publish(subject, encode(envelope), timeout=self.patience_seconds)

    async def apply(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        names = {"kind": manifest["kind"], "name": metadata["name"], "version": metadata.get("version")}
        await self._say(ManifestApplied(**names, digest=digest(manifest), manifest=manifest))

    def _judged(self, run: Run, where: str) -> list[Finding]:
        return list(self._judge(run, where))

    def _judge(self, run: Run, where: str) -> Iterator[Finding]:
        """What is so in the world, after a run."""
        ends = [type(one.data).__name__ for one in run.ends]
        if not ends:
            yield Finding(STUCK, f"{where}: it has not ended")
            return
        if len(ends) > 1:
            yield Finding(DOUBLED, f"{where}: it has ended {len(ends)} times: {', '.join(ends)}")
        if ends[0] != self.ground.end:
            reason = getattr(run.ends[0].data, "reason", "")
            yield Finding(LOST, f"{where}: {ends[0]} instead of {self.ground.end}: {reason}")
        wanted = set(self.ground.wanted(run.action, run.name, run.run_id))
        effects = self.ground.effects()
        for one in sorted(wanted):
            if effects[one] != 1:
                kind = DOUBLED if effects[one] else LOST
                yield Finding(kind, f"{where}: {one}: {effects[one]} times")
        standing, stands = self.ground.standing(run.name), self.ground.stands(run.action)
        if standing != stands:
            yield Finding(LOST, f"{where}: there is {standing}, and should be {stands}")

    def judge_whole(self) -> Iterator[Finding]:
        """Nobody's effect but those of the runs, no lock and no process; when the process has ended."""
        wanted = {
            one
            for run in self.runs.values()
            if run.ends
            for one in self.ground.wanted(run.action, run.name, run.run_id)
        }
        for one in self.ground.effects().keys() - wanted:
            yield Finding(UNEXPLAINED, f"{one} is of no run")
        for one in self.ground.left():
            yield Finding(STUCK, f"left: {one}")
        deadline = time.monotonic() + GONE_SECONDS
        scratch = self.ground.scratch
        while (still := [*processes(scratch), *held(scratch)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        for one in still:
            yield Finding(STUCK, f"left: {one}")


@asynccontextmanager
async def lives(ground: Ground, planted: str, patience_seconds: float) -> AsyncIterator[Lives]:
    """A bus, the ground, and everything applied; provisioning is started by each run. All of it ends at exit."""
    ground.scratch.mkdir()
    async with AsyncExitStack() as stack:
        bus = NatsServer(ground.scratch.with_name(f"{ground.scratch.name}-nats"))
        await asyncio.to_thread(bus.start)
        stack.callback(bus.stop)
        await stack.enter_async_context(ground)
        await asyncio.to_thread(asyncio.run, make_streams(bus))
        connection = await connect(RuntimeSettings(nats_url=bus.url), "intake", "proof")
        stack.push_async_callback(connection.close)
        own = {
            "DATA": str(ground.scratch / "data"),
            "NATS_URL": bus.url,
            "PORT": "0",
            "LOG_LEVEL": "WARNING",
            "BATCH_SIZE": "1",
            "RETRY_SECONDS": "0.1",
            "ALLOW_LOCAL_REPOSITORIES": "true",
            **ground.settings,
        }
        environment = {f"ENTRESOL_PROVISIONING_{name}": value for name, value in own.items()}
        worker = Worker({**environment, **ground.environment, PLANTED: planted}, ground.scratch / "provisioning.log")
        stack.callback(worker.kill)
        heard = await connection.jetstream().subscribe("entresol.provisioning.>", ordered_consumer=True)
        made = Lives(ground, worker, connection, heard, patience_seconds)
        for manifest in [*ground.documents, *ground.offerings()]:
            await made.apply(manifest)
        yield made


def _names(request_id: str, offering: str, name: str) -> dict[str, str]:
    return {"request_id": request_id, "resource_id": f"shop/dev/{offering}/{name}", "project": "shop"}
