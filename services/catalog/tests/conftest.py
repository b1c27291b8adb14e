"""Traffic as the other services make it, for every test of the catalog."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from entresol_catalog.app import MIGRATIONS, create
from entresol_catalog.handlers.projection import projection
from entresol_catalog.settings import Settings
from entresol_catalog.store.tables import metadata
from entresol_contracts import events as facts
from entresol_eventing.access import new_token, token_hash
from entresol_eventing.envelope import Event, new_id
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.reactions import Emit, Outcome
from entresol_eventing.run import server
from entresol_eventing.service import Service
from entresol_eventing.testing import event, eventually, memory_session, migrated, nats_server, running
from sqlmodel import Session

BEGAN = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


class Traffic:
    """Events about one request, a second apart, in the order of the log."""

    def __init__(self, project: str = "shop", name: str = "orders", **submitted: Any) -> None:
        self.id = new_id()
        self.project = project
        self.resource = f"{project}/staging/database/{name}"
        self.at = BEGAN
        self.actor = facts.Actor(id="user:ada", groups=["team-shop"])
        self.names = {"offering": "database", "offering_version": "1.0.0", "environment": "staging", "name": name}
        self._submitted = {"action": "create", "inputs": {"size": "small"}} | submitted

    def made_for(self, **submitted: Any) -> None:
        """What is submitted says so too."""
        self._submitted |= submitted

    @property
    def about(self) -> dict[str, str]:
        return {"request_id": self.id, "resource_id": self.resource, "project": self.project}

    def say(self, data: Any, seconds: float = 1, **attributes: Any) -> Event[Any]:
        self.at += timedelta(seconds=seconds)
        attributes = {"correlationid": self.id, "partitionkey": self.resource, "time": self.at} | attributes
        return event(data, **attributes)

    def submitted(self) -> Event[Any]:
        return self.say(facts.RequestSubmitted(**self.about, **self.names, actor=self.actor, **self._submitted))

    def asked(self, approval_id: str = "approval-1", hours: float = 4, **more: Any) -> Event[Any]:
        sane: dict[str, Any] = {
            "policy": "production",
            "approvers": ["group:sre"],
            "count": 1,
            "not_self": True,
            "requested_by": "user:ada",
            "expires_at": self.at + timedelta(hours=hours),
        }
        return self.say(facts.ApprovalRequested(**self.about, approval_id=approval_id, **(sane | more)))

    def ended(
        self, kind: type[Any], answer: str | None = None, approval_id: str = "approval-1", **more: Any
    ) -> Event[Any]:
        answers = [facts.Answer(by="user:bob", answer=answer, reason="because", at=self.at)] if answer else []
        return self.say(kind(**self.about, approval_id=approval_id, policy="production", answers=answers, **more))

    def approval(self, kind: type[Any], approval_id: str = "approval-1", **more: Any) -> Event[Any]:
        """A fact about an approval of intake's, which says less of the request than one of policy's."""
        about = {name: self.about[name] for name in kind.model_fields if name in self.about}
        policy = {"policy": "production"} if "policy" in kind.model_fields else {}
        return self.say(kind(**about, **policy, approval_id=approval_id, **more))

    def heard(
        self,
        approval_id: str = "approval-1",
        answer: Any = "granted",
        missing: int = 0,
        missing_from: Any = ("group:sre",),
    ) -> list[Event[Any]]:
        """Bob answers, and policy says that it counts."""
        about = {"by": "user:bob", "reason": "because"}
        said = self.approval(facts.ApprovalAnswered, approval_id, groups=["sre"], answer=answer, **about)
        sane = {
            "said": answer,
            "at": self.at,
            "missing": missing,
            "missing_from": list(missing_from) if missing else [],
        }
        counted = self.approval(facts.AnswerCounted, approval_id, **about, **sane)
        return [said, counted.model_copy(update={"causationid": said.id})]

    def plan_wanted(self) -> Event[Any]:
        return self.say(facts.PlanRequested(**self.about, policies=["plans"]))

    def planned(self, digest: str = "sha256:one", **more: Any) -> Event[Any]:
        figures: dict[str, Any] = {"adds": 2, "changes": 0, "destroys": 1, "steps": []}
        return self.say(facts.RunPlanned(**self.about, run_id="run-1", digest=digest, **(figures | more)))

    def held(self, *until: datetime | None) -> Event[Any]:
        holds = [
            facts.Hold(kind="lock", name=f"lock-{number}", because="the ledger moves", by="user:ada", until=one)
            for number, one in enumerate(until)
        ]
        return self.say(facts.RequestHeld(**self.about, holds=holds))

    def broken(self, review_id: str = "review-1") -> Event[Any]:
        return self.say(
            facts.GlassBroken(
                **self.about,
                actor="user:ada",
                reason="the shop is down",
                bypassed=["window no-fridays"],
                review_id=review_id,
                reviewers=["group:sre"],
                review_by=self.at + timedelta(days=2),
                policy="emergencies",
            )
        )

    def allowed(self, **more: Any) -> Event[Any]:
        return self.say(facts.RequestAllowed(**self.about, **({"verdicts": []} | more)))

    def denied(self) -> Event[Any]:
        return self.say(facts.RequestDenied(**self.about, because=["too large"], verdicts=[]))

    def started(self, *steps: str) -> Event[Any]:
        steps = steps or ("database",)
        return self.say(
            facts.RunStarted(
                **self.about,
                run_id="run-1",
                offering="database",
                offering_version="1.0.0",
                action="create",
                steps=list(steps),
                running=list(steps[:1]),
            )
        )

    def progressed(
        self, step: str = "database", state: str = "succeeded", attempt: int = 1, *running: str
    ) -> Event[Any]:
        return self.say(
            facts.RunProgressed(
                **self.about, run_id="run-1", step=step, state=state, attempt=attempt, running=list(running)
            )
        )

    def suspended(self, step: str = "database", reason: str = "the job runs", **more: Any) -> Event[Any]:
        return self.say(
            facts.RunSuspended(**self.about, **({"run_id": "run-1", "step": step, "reason": reason} | more))
        )

    def resumed(self, step: str | None = None, by: str = "user:bob") -> Event[Any]:
        return self.say(facts.ResumeRequested(**self.about, step=step, by=by, answer={"code": "hunter2"}))

    def needs(self, other: "Traffic", name: str = "queue", action: str = "create") -> Event[Any]:
        wanted = facts.Wanted(resource_id=other.resource, project=other.project, inputs={}, **other.place)
        data = facts.RequirementRequested(
            **self.about,
            run_id="run-1",
            name=name,
            action=action,
            wanted=wanted,
            for_request_id=other.id,
            actor=self.actor,
        )
        return self.say(data)

    def refused(self, other: "Traffic", name: str = "queue") -> Event[Any]:
        about = {**self.about, "name": name, "for_request_id": other.id}
        return self.say(facts.RequirementRefused(**about, reason="nobody offers it there"))

    def undone(self, step: str = "database", reason: str | None = None) -> Event[Any]:
        whole = {**self.about, "run_id": "run-1", "step": step}
        if reason is None:
            return self.say(facts.CompensationSucceeded(**whole, message="destroyed"))
        return self.say(facts.CompensationFailed(**whole, reason=reason))

    def succeeded(self) -> Event[Any]:
        data = facts.RunSucceeded(**self.about, run_id="run-1", action="create", outputs={"host": "db"}, duration_ms=5)
        return self.say(data)

    def failed(self, step: str | None = "database", **more: Any) -> Event[Any]:
        whole = {**self.about, "run_id": "run-1", "action": "create", "reason": "no space", "step": step}
        return self.say(facts.RunFailed(**(whole | more)))

    def stopped(self, **more: Any) -> Event[Any]:
        whole = {**self.about, "run_id": "run-1", "action": "create", "reason": "cancelled by ada"}
        return self.say(facts.RunCancelled(**(whole | more)))

    def cancelled(self) -> Event[Any]:
        return self.say(facts.RequestCancelled(**self.about, by="user:ada", reason="wrong size"))

    def provisioned(self, entity: dict[str, Any] | None = None, /, **changes: Any) -> Event[Any]:
        return self.say(facts.ResourceProvisioned(**(self._resource(entity) | changes)))

    def changed(self, entity: dict[str, Any] | None = None, **changes: Any) -> Event[Any]:
        return self.say(facts.ResourceChanged(**(self._resource(entity) | changes)))

    def deleted(self, *orphaned: str, **attributes: Any) -> Event[Any]:
        left = [facts.Orphan(step=one, driver="http", reason="no answer") for one in orphaned]
        return self.say(facts.ResourceDeleted(**self.about, **self.names, orphaned=left or None), **attributes)

    def drifted(
        self, *paths: str, mode: str = "report", again_hours: float | None = None, **attributes: Any
    ) -> Event[Any]:
        differences = [facts.Difference(step="database", path=one, change="changed") for one in paths]
        again_at = None if again_hours is None else self.at + timedelta(hours=again_hours)
        seen = {"mode": mode, "differences": differences, "gone": ["dns"], "checked_at": self.at, "again_at": again_at}
        return self.say(facts.ResourceDrifted(**self._named, owner="user:ada", **seen), **attributes)

    def converged(self, **attributes: Any) -> Event[Any]:
        data = facts.ResourceConverged(**self._named, owner="user:ada", checked_at=self.at)
        return self.say(data, **attributes)

    def unobserved(self, reason: str = "no answer", **attributes: Any) -> Event[Any]:
        seen = {"since": self.at, "reason": reason, "checked_at": self.at, "seen_at": self.at - timedelta(hours=1)}
        return self.say(facts.ResourceUnobserved(**self._named, owner="user:ada", **seen), **attributes)

    def observed(self, **attributes: Any) -> Event[Any]:
        seen = {"since": self.at, "checked_at": self.at}
        return self.say(facts.ResourceObserved(**self._named, owner="user:ada", **seen), **attributes)

    def paused(self, hours: float = 4, **attributes: Any) -> Event[Any]:
        until = self.at + timedelta(hours=hours)
        about = {**self._named, "request_id": self.id, "by": "user:ada", "reason": "an audit"}
        return self.say(facts.ResourcePaused(**about, until=until), **attributes)

    def unpaused(self, **attributes: Any) -> Event[Any]:
        return self.say(facts.ResourceUnpaused(**self._named, by="system:pause"), **attributes)

    def whole(self, entity: dict[str, Any] | None = None) -> list[Event[Any]]:
        """The usual way through."""
        return [
            self.submitted(),
            self.allowed(),
            self.started(),
            self.progressed(),
            self.succeeded(),
            self.provisioned(entity),
        ]

    @property
    def place(self) -> dict[str, str]:
        return {name: self.names[name] for name in ("environment", "offering", "name")}

    @property
    def _named(self) -> dict[str, str]:
        return {"resource_id": self.resource, "project": self.project, **self.names}

    def _resource(self, entity: dict[str, Any] | None) -> dict[str, Any]:
        document = None if entity is None else facts.EntityDocument(**entity)
        about = {**self.about, **self.names, "owner": "user:ada", "inputs": {"size": "small"}}
        return about | {"outputs": {"host": "db"}, "entity": document}


def whole_lives() -> list[Event[Any]]:
    """Two projects, in which everything happens that can happen to a resource and to its requests."""
    one, queue, refused, later = Traffic(), Traffic(name="queue"), Traffic(name="refused"), Traffic(action="rollback")
    bank = Traffic("bank", name="ledger")
    made_for = facts.Requirement(request_id=one.id, resource_id=one.resource, name="queue")
    queue.made_for(requirement=made_for)
    later.made_for(snapshot=facts.Snapshot(revision=1, request_id=one.id), **{"class": "cheap"})
    return [
        staged("1.0.0", "default"),
        *(one.submitted(), one.allowed(), one.started("database", "dns"), one.needs(queue)),
        *(
            one.suspended("queue", "it is made", requires=queue.id),
            one.needs(refused, "other"),
            one.refused(refused, "other"),
        ),
        *(queue.submitted(), queue.allowed(), queue.started(), queue.succeeded(), queue.provisioned(revision=1)),
        *(one.suspended(until=one.at + timedelta(hours=1)), one.progressed("database", "retrying", 1, "database")),
        *(
            one.suspended(reason="look at it", resumable=True),
            one.resumed(),
            one.progressed("database", "succeeded", 2),
        ),
        *(one.succeeded(), one.provisioned(revision=1, requires={"queue": queue.resource}, implementation="local")),
        *(
            one.drifted("a.yaml"),
            one.drifted("a.yaml", "b.yaml", mode="correct"),
            one.converged(),
            one.drifted("c.yaml"),
        ),
        *(later.submitted(), later.allowed(), later.started("database", "dns"), later.progressed()),
        *(later.undone(reason="no answer"), later.undone(), later.undone("dns", "gone"), one.paused()),
        later.failed("dns", left=["dns"], compensated=["database"]),
        *(bank.submitted(), bank.allowed(), bank.started(), bank.cancelled(), bank.suspended(resumable=True)),
        bank.stopped(steps_done=["database"], compensated=["dns"]),
        *(
            bank.provisioned(adopted=True, revision=1, requires={"queue": queue.resource}),
            bank.drifted("d", mode="ask"),
            bank.unobserved(),
        ),
        *(one.unpaused(), Traffic().changed(revision=2, action="update", offering_version="1.1.0"), one.paused()),
        *(staged("1.1.0", "default"), staged("1.0.0", "deprecated"), queue.deleted("bucket")),
    ]


def staged(version: str, stage: str, name: str = "database", **attributes: Any) -> Event[Any]:
    return event(facts.OfferingStaged(name=name, version=version, stage=stage, by="user:grace"), **attributes)


Project = Callable[..., list[Emit]]


@pytest.fixture
def traffic() -> type[Traffic]:
    return Traffic


@pytest.fixture
def session() -> Iterator[Session]:
    with memory_session(metadata) as session:
        yield session


@pytest.fixture
def project(session: Session) -> Project:
    """Projects events as one batch; returns what the catalog says to that."""
    handle = projection(Settings().patience_seconds)

    def batch(*events: Event[Any]) -> list[Emit]:
        return [one for one in handle(events, session) if isinstance(one, Emit)]

    return batch


@dataclass
class Catalog:
    """A running catalog, its door, and a way to let events happen to it without the other services."""

    service: Service
    url: str
    tokens: dict[str, str]

    async def project(self, *events: Event[Any]) -> None:
        handle = self.service.reactions.to_batch
        assert handle is not None

        def unit(session: Session) -> Generator[Outcome, None, None]:
            yield from handle(events, session)

        await self.service.transact(unit)

    def client(self, who: str = "admin") -> httpx.AsyncClient:
        """A client of the application itself; streams need `live`, since this transport waits for the end."""
        assert self.service.http is not None
        transport = httpx.ASGITransport(app=self.service.http)
        return httpx.AsyncClient(transport=transport, base_url="http://catalog", headers=self.bearer(who))

    def live(self, who: str = "admin") -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=self.bearer(who), timeout=10)

    def bearer(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[who]}"}


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def catalog(bus: NatsServer, tmp_path: Path) -> AsyncIterator[Catalog]:
    """With three tokens: an admin's, a viewer's of everything, and a viewer's of the project shop."""
    settings = Settings(data=tmp_path / "data", nats_url=bus.url, heartbeat_seconds=0.1, watch_seconds=3600)
    settings.data.mkdir(mode=0o700)
    (settings.data / "catalog.db").write_bytes(migrated(MIGRATIONS))
    async with running(create(settings)) as service:
        assert service.http is not None
        http = server(service.http, "127.0.0.1", 0)
        serving = asyncio.create_task(http.serve())
        await eventually(lambda: http.started)
        port = http.servers[0].sockets[0].getsockname()[1]
        catalog = Catalog(service, f"http://127.0.0.1:{port}", {"nobody": "entresol_wrong"})
        for who, role, projects in (
            ("admin", "admin", ["*"]),
            ("viewer", "viewer", ["*"]),
            ("shop", "viewer", ["shop"]),
        ):
            catalog.tokens[who] = new_token()
            hashed = token_hash(catalog.tokens[who])
            issued = facts.TokenIssued(
                token_id=who, hash=hashed, actor=f"user:{who}", groups=[], role=role, projects=projects
            )
            await catalog.project(event(issued))
        yield catalog
        http.force_exit = http.should_exit = True
        await serving
