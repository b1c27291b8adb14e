"""A provisioning service without a bus: events go in by its handlers, steps are done by hand, facts come out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from entresol_contracts.events import (
    Actor,
    ApprovalExpired,
    ManifestApplied,
    RequestAllowed,
    RequestCancelled,
    RequestDenied,
    RequestSubmitted,
)
from entresol_eventing.envelope import Cause, new_id
from entresol_eventing.reactions import Cancel, Deadline, Due, Emit, Outcome
from entresol_eventing.testing import event, memory_session
from entresol_manifests.digest import digest
from entresol_provisioning import claims
from entresol_provisioning.drivers import StepWork
from entresol_provisioning.handlers import Handlers
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.runs import Runs
from entresol_provisioning.settings import Settings
from entresol_provisioning.store import Base
from entresol_provisioning.verdicts import Verdict
from sqlmodel import Session

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
        self.runs = Runs(self.offerings, {"noop": True})
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

    def submit(self, action: str = "create", **attributes: Any) -> str:
        request_id = new_id()
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

    def allow(self, request_id: str) -> None:
        self.say(RequestAllowed(**self._names(request_id), verdicts=[]))

    def ask(self, action: str = "create", **attributes: Any) -> str:
        request_id = self.submit(action, **attributes)
        self.allow(request_id)
        return request_id

    def deny(self, request_id: str) -> None:
        self.say(RequestDenied(**self._names(request_id), because=["no"], verdicts=[]))

    def expire(self, request_id: str) -> None:
        self.say(ApprovalExpired(**self._names(request_id), approval_id="a", policy="p", answers=[]))

    def cancel(self, request_id: str) -> None:
        self.say(RequestCancelled(**self._names(request_id), by="user:bo", reason="a mistake"))

    def ready(self) -> list[claims.Intent]:
        return claims.ready(self.session, self.offerings, (), 100)

    def done(self, step: str, state: Any = "succeeded", **fields: Any) -> None:
        """Record that the oldest ready step of that name has ended."""
        intent = next(one for one in self.ready() if one.key[1] == step)
        fields.setdefault("known", intent.previous is not None)
        fields.setdefault("undo", intent.undo(dict(intent.step.with_), None))
        verdict = Verdict(run_id=intent.key[0], step=step, attempt=intent.attempt, state=state, **fields)
        self.take(self.runs.record(self.session, verdict, self.at))

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

    def last(self) -> Any:
        return self.emits()[-1].data

    def later(self, **delta: float) -> None:
        self.at += timedelta(**delta)

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
