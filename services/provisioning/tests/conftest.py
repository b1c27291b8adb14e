"""What the tests of provisioning need.

A desk is the service without a bus: events go in by its handlers, steps are done by hand, facts come out. A platform
is the whole service on a real nats-server, with somebody who says what intake and policy would say.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from entresol_contracts import Payload
from entresol_contracts.events import (
    Actor,
    ApprovalExpired,
    ApprovalRejected,
    ManifestApplied,
    PlanRequested,
    RequestAllowed,
    RequestCancelled,
    RequestDenied,
    RequestSubmitted,
)
from entresol_eventing.envelope import Cause, encode, log_subject, new_id, types_by_model
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.reactions import Cancel, Deadline, Due, Emit, Outcome
from entresol_eventing.service import Service
from entresol_eventing.testing import event, eventually, memory_session, nats_server, published, running
from entresol_manifests.digest import digest
from entresol_provisioning import app, claims
from entresol_provisioning.drivers import Plan, StepWork
from entresol_provisioning.handlers import Handlers
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.plans import outline
from entresol_provisioning.runs import Runs
from entresol_provisioning.settings import Settings
from entresol_provisioning.tables import Base
from entresol_provisioning.turns import Slots
from entresol_provisioning.verdicts import Verdict
from sqlmodel import Session

P = TypeVar("P", bound=Payload)
ENDS = ("RunSucceeded", "RunFailed", "RunCancelled")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass
class Desk:
    """The handlers on one store in memory; `facts` is everything that was said."""

    session: Session
    at: datetime = NOON
    outcomes: list[Outcome] = field(default_factory=list)
    deadlines: dict[str, Deadline] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.offerings = Offerings()
        self.runs = Runs(self.offerings, {"noop": True, "resource": True, "exec": True})
        self.reactions = Handlers(self.offerings, self.runs).reactions()

    def say(self, data: Any) -> None:
        self.take(self.reactions.to[type(data)](event(data, time=self.at), self.session))

    def take(self, outcomes: Any) -> None:
        for one in outcomes:
            self.outcomes.append(one)
            if isinstance(one, Deadline):
                self.deadlines[one.key] = one
            elif isinstance(one, Cancel):
                self.deadlines.pop(one.key, None)

    def apply(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        self.say(
            ManifestApplied(
                kind=manifest["kind"],
                name=metadata["name"],
                version=metadata.get("version"),
                digest=digest(manifest),
                manifest=manifest,
            )
        )

    def submit(self, action: str = "create", request_id: str = "", **attributes: Any) -> str:
        request_id = request_id or new_id()
        sane: dict[str, Any] = {
            "project": "shop",
            "environment": "dev",
            "offering": "database",
            "offering_version": "1.0.0",
            "name": "orders",
            "inputs": {},
            "actor": Actor(id="user:ada", groups=["team-shop"]),
        }
        whole = sane | attributes
        resource_id = "/".join(whole[key] for key in ("project", "environment", "offering", "name"))
        self.say(RequestSubmitted(request_id=request_id, resource_id=resource_id, action=action, **whole))
        return request_id

    def want_plan(self, request_id: str) -> None:
        self.say(PlanRequested(**self._names(request_id)))

    def allow(self, request_id: str, plan_digest: str | None = None, judged: dict[str, Any] | None = None) -> None:
        inputs_digest = None if judged is None else digest(judged)
        names = self._names(request_id)
        self.say(RequestAllowed(**names, verdicts=[], plan_digest=plan_digest, inputs_digest=inputs_digest))

    def ask(self, action: str = "create", **attributes: Any) -> str:
        request_id = self.submit(action, **attributes)
        self.allow(request_id)
        return request_id

    def deny(self, request_id: str) -> None:
        self.say(RequestDenied(**self._names(request_id), because=["no"], verdicts=[]))

    def reject(self, request_id: str, review: bool | None = None) -> None:
        names = self._names(request_id)
        self.say(ApprovalRejected(**names, approval_id="a", policy="p", answers=[], review=review))

    def expire(self, request_id: str) -> None:
        self.say(ApprovalExpired(**self._names(request_id), approval_id="a", policy="p", answers=[]))

    def cancel(self, request_id: str) -> None:
        self.say(RequestCancelled(**self._names(request_id), by="user:bo", reason="a mistake"))

    def ready(self) -> list[claims.Intent]:
        return claims.ready(self.session, self.offerings, Slots(100))

    def done(self, step: str, state: Any = "succeeded", **fields: Any) -> None:
        """Record that the oldest ready step of that name has ended."""
        intent = next(one for one in self.ready() if one.key[1] == step)
        fields.setdefault("known", intent.footprint is not None)
        fields.setdefault("undo", intent.undo(dict(intent.step.with_), None))
        verdict = Verdict(run_id=intent.key[0], step=step, attempt=intent.attempt, state=state, **fields)
        self.take(self.runs.record(self.session, verdict, self.at))

    def planned(self, step: str = "only", **plan: Any) -> None:
        """Record that the step was planned; by default it would add something."""
        driver = next(one for one in self.ready() if one.key[1] == step).step.driver
        whole: dict[str, Any] = {"digest": f"sha256:{step}", "adds": 1} | plan
        self.done(step, plan=outline(step, driver, Plan(**whole)))

    def due(self, key: str) -> None:
        one = self.deadlines.pop(key)
        come = Due(one.key, one.kind, one.due_at, one.args, one.cause or Cause())
        self.take(self.reactions.when_due[one.kind](come, self.session))

    def facts(self, request_id: str | None = None) -> list[str]:
        """Names of what was said, of one request or of all, such as `RunStarted`."""
        return [type(one.data).__name__ for one in self.emits(request_id)]

    def emits(self, request_id: str | None = None) -> list[Emit]:
        emitted = [one for one in self.outcomes if isinstance(one, Emit)]
        return [one for one in emitted if request_id in (None, getattr(one.data, "request_id", None))]

    def said(self, model: type[P], request_id: str | None = None) -> list[P]:
        """The facts of that kind, in order."""
        return [one.data for one in self.emits(request_id) if isinstance(one.data, model)]

    def last(self) -> Any:
        return self.emits()[-1].data

    def later(self, **delta: float) -> datetime:
        self.at += timedelta(**delta)
        return self.at

    def _names(self, request_id: str) -> dict[str, str]:
        return {"request_id": request_id, "resource_id": "shop/dev/database/orders", "project": "shop"}


def make_offering(name: str = "database", version: str = "1.0.0", **spec: Any) -> dict[str, Any]:
    actions = spec.pop("actions", {"create": {"steps": [{"name": "only", "driver": "noop"}]}})
    metadata = {"name": name, "version": version}
    return {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": metadata,
        "spec": {"actions": actions, **spec},
    }


def make_work(**attributes: Any) -> StepWork:
    names = {"project": "shop", "environment": "dev", "offering": "database", "name": "orders"}
    run_id = attributes.pop("run_id", "run-1")
    step = attributes.pop("step", "only")
    sane: dict[str, Any] = {
        "request_id": "request-1",
        "run_id": run_id,
        "step": step,
        "idempotency_key": f"{run_id}/{step}",
        "action": "create",
        "resource_id": "shop/dev/database/orders",
        "actor": "user:ada",
        "with_": {},
        **names,
    }
    return StepWork(**(sane | attributes))


class Voice:
    """Says what intake and policy would say."""

    def __init__(self, connection: Any) -> None:
        self._log = connection.jetstream()

    async def say(self, data: Payload) -> None:
        known = types_by_model()[type(data)]
        envelope = event(data)
        await self._log.publish(log_subject(known.publisher, known, envelope.subject), encode(envelope))

    async def apply(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        fact = ManifestApplied(
            kind=manifest["kind"],
            name=metadata["name"],
            version=metadata.get("version"),
            digest=digest(manifest),
            manifest=manifest,
        )
        await self.say(fact)

    async def submit(self, action: str = "create", name: str = "orders", **attributes: Any) -> str:
        request_id = new_id()
        fact = {
            "request_id": request_id,
            "resource_id": f"shop/dev/database/{name}",
            "project": "shop",
            "offering": "database",
            "offering_version": "1.0.0",
            "action": action,
            "environment": "dev",
            "name": name,
            "inputs": {},
            "actor": Actor(id="user:ada", groups=[]),
        }
        await self.say(RequestSubmitted(**(fact | attributes)))
        return request_id

    async def ask(self, action: str = "create", name: str = "orders", **attributes: Any) -> str:
        request_id = await self.submit(action, name, **attributes)
        await self.allow(request_id, name=name)
        return request_id

    async def want_plan(self, action: str = "create", name: str = "orders", **attributes: Any) -> str:
        """Ask, and let policy want to see the plan first."""
        request_id = await self.submit(action, name, **attributes)
        await self.say(PlanRequested(**names(request_id, name)))
        return request_id

    async def allow(self, request_id: str, plan_digest: str | None = None, name: str = "orders") -> None:
        await self.say(RequestAllowed(**names(request_id, name), verdicts=[], plan_digest=plan_digest))

    async def deny(self, request_id: str) -> None:
        await self.say(RequestDenied(**names(request_id), because=["no"], verdicts=[]))

    async def expire(self, request_id: str) -> None:
        await self.say(ApprovalExpired(**names(request_id), approval_id="a", policy="p", answers=[]))

    async def cancel(self, request_id: str, name: str = "orders") -> None:
        await self.say(RequestCancelled(**names(request_id, name), by="user:ada"))


class Platform(Voice):
    """The rest of the platform, which listens too."""

    def __init__(self, service: Service, connection: Any) -> None:
        super().__init__(connection)
        self.service = service

    async def planned(self, request_id: str, number: int = 1) -> Any:
        """The request's plan of that number, as soon as it is told; a run that ended instead is an error."""

        async def look() -> Any:
            said = await self.about(request_id)
            assert not any(type(one.data).__name__ in ENDS for one in said), said[-1].data
            plans = [one.data for one in said if type(one.data).__name__ == "RunPlanned"]
            return plans[number - 1] if len(plans) >= number else None

        return await eventually(look, seconds=30)

    async def facts(self, request_id: str) -> list[str]:
        return [type(one.data).__name__ for one in await self.about(request_id)]

    async def about(self, request_id: str) -> list[Any]:
        return [one for one in await published(self.service) if getattr(one.data, "request_id", None) == request_id]

    async def heard(self, request_id: str, *names: str) -> Any:
        """The first fact about the request with one of the names, as soon as it is there."""

        async def look() -> Any:
            return next((one for one in await self.about(request_id) if type(one.data).__name__ in names), None)

        return (await eventually(look, seconds=30)).data

    async def ended(self, request_id: str) -> Any:
        return await self.heard(request_id, *ENDS)


def names(request_id: str, name: str = "orders") -> dict[str, str]:
    return {"request_id": request_id, "resource_id": f"shop/dev/database/{name}", "project": "shop"}


@asynccontextmanager
async def platform_on(service: Service) -> AsyncIterator[Platform]:
    connection = await connect(service.settings, "intake", "test")
    try:
        async with running(service):
            yield Platform(service, connection)
    finally:
        await connection.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with memory_session(Base.metadata) as session:
        yield Desk(session)


@pytest.fixture
def offering() -> Callable[..., dict[str, Any]]:
    """Makes an offering manifest, by default with one step that does nothing."""
    return make_offering


@pytest.fixture
def work() -> Callable[..., StepWork]:
    """Makes one attempt at a step."""
    return make_work


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, allow_local_repositories=True, retry_seconds=0.02, retries=0)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def connected(settings: Settings, bus: NatsServer) -> Settings:
    return settings.model_copy(update={"nats_url": bus.url})


@pytest.fixture
def serving() -> Callable[[Service], AbstractAsyncContextManager[Platform]]:
    """Runs a service among the rest of the platform."""
    return platform_on


@pytest.fixture
async def platform(connected: Settings) -> AsyncIterator[Platform]:
    async with platform_on(app.create(connected)) as made:
        yield made


@pytest.fixture
def voice() -> Callable[[Any], Voice]:
    """Speaks on a connection, where the service runs elsewhere."""
    return Voice
