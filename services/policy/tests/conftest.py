"""Policy with a clock, for tests that are about requests through time."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_contracts.events import (
    Actor,
    AnswerCounted,
    ApprovalAnswered,
    LockPlaced,
    ManifestApplied,
    RequestSubmitted,
    ResourceChanged,
    ResourceProvisioned,
    RunPlanned,
    Scope,
    StepPlan,
    WaiverGranted,
)
from entresol_eventing.envelope import Cause, Event
from entresol_eventing.reactions import Cancel, Deadline, Due, Emit
from entresol_eventing.testing import event, memory_session
from entresol_policy.evaluation import Evaluator
from entresol_policy.handlers import Gate
from entresol_policy.store import Base
from sqlmodel import Session

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
RESOURCE = "shop/prod/database/orders"


class World:
    """Policy with a clock; time passes only when it is told to, and what falls due then is looked at in order."""

    def __init__(self, session: Session) -> None:
        self.now = AT
        self.session = session
        self.reactions = Gate(Evaluator(), lambda: self.now).reactions()
        self.deadlines: dict[str, Deadline] = {}
        self.said: list[Any] = []
        self.emits: list[Emit] = []
        self._ids = itertools.count(1)

    def hear(self, data: Any) -> list[Any]:
        """What policy says to it, with what falls due at once."""
        heard: Event[Any] = event(data, time=self.now)
        before = len(self.said)
        self._take(self.reactions.to[type(data)](heard, self.session))
        self.pass_time(timedelta())
        return self.said[before:]

    def pass_time(self, length: timedelta) -> list[Any]:
        end, before = self.now + length, len(self.said)
        while due := [one for one in self.deadlines.values() if one.due_at <= end]:
            first = min(due, key=lambda one: one.due_at)
            del self.deadlines[first.key]
            self.now = max(self.now, first.due_at)
            come = Due(first.key, first.kind, first.due_at, first.args, Cause())
            self._take(self.reactions.when_due[first.kind](come, self.session))
        self.now = end
        return self.said[before:]

    def until(self, when: datetime) -> list[Any]:
        return self.pass_time(when - self.now)

    def _take(self, outcomes: Any) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Emit):
                self.said.append(outcome.data)
                self.emits.append(outcome)
            elif isinstance(outcome, Deadline):
                self.deadlines[outcome.key] = outcome
            elif isinstance(outcome, Cancel):
                self.deadlines.pop(outcome.key, None)

    def apply(self, kind: str, name: str, **spec: Any) -> list[Any]:
        manifest = {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        digest = f"sha256:{next(self._ids)}"
        return self.hear(ManifestApplied(kind=kind, name=name, digest=digest, manifest=manifest))

    def policy(self, name: str, *rules: Any, **spec: Any) -> list[Any]:
        return self.apply("Policy", name, rules=list(rules), **spec)

    def ask(self, request_id: str = "r1", **changed: Any) -> list[Any]:
        plain: dict[str, Any] = {
            "request_id": request_id,
            "resource_id": RESOURCE,
            "project": "shop",
            "offering": "database",
            "offering_version": "1.0.0",
            "action": "create",
            "environment": "prod",
            "name": "orders",
            "inputs": {"size": "large"},
            "actor": Actor(id="user:ada", groups=["shop"]),
        }
        return self.hear(RequestSubmitted(**plain | changed))

    def answer(self, asked: Any, by: str = "user:bob", what: Any = "granted", groups: Any = ("sre",)) -> list[Any]:
        """What comes of the answer. That it counts is left out, unless nothing else comes of it."""
        said = self.hear(
            ApprovalAnswered(
                approval_id=asked.approval_id,
                request_id=asked.request_id,
                project="shop",
                answer=what,
                by=by,
                groups=list(groups),
            )
        )
        return said[1:] if isinstance(said[0], AnswerCounted) and len(said) > 1 else said

    def plan(self, digest: str = "p1", destroys: int = 0, **more: Any) -> list[Any]:
        step = StepPlan(name="db", driver="noop", adds=1, changes=0, destroys=destroys, summary=["create db"])
        return self.hear(
            RunPlanned(
                request_id="r1",
                resource_id=RESOURCE,
                project="shop",
                run_id="run",
                digest=digest,
                adds=1,
                changes=0,
                destroys=destroys,
                steps=[step],
                **more,
            )
        )

    def lock(self, until: datetime | None = None, exempt: tuple[str, ...] = (), **scope: str) -> list[Any]:
        placed = LockPlaced(
            lock_id="l1", scope=Scope(**scope), reason="a migration", by="user:eve", exempt=list(exempt), until=until
        )
        return self.hear(placed)

    def waive(self, waives: str, until: datetime, rule: int | None = None, **scope: str) -> list[Any]:
        granted = WaiverGranted(
            waiver_id="w1",
            waives=waives,
            scope=Scope(**scope),
            reason="a test",
            ticket="OPS-1",
            until=until,
            by="user:eve",
            rule=rule,
        )
        return self.hear(granted)

    def exists(self, name: str, request_id: str = "r1", **inputs: Any) -> list[Any]:
        fact = ResourceProvisioned(
            resource_id=f"shop/prod/database/{name}",
            project="shop",
            environment="prod",
            offering="database",
            offering_version="1.0.0",
            name=name,
            request_id=request_id,
            owner="user:ada",
            inputs=inputs,
            outputs={},
        )
        return self.hear(fact)

    def becomes(self, request_id: str = "other", version: str = "1.0.0", **inputs: Any) -> list[Any]:
        """Another request, if it is not named, has changed the resource that this is about."""
        fact = ResourceChanged(
            resource_id=RESOURCE,
            project="shop",
            environment="prod",
            offering="database",
            offering_version=version,
            name="orders",
            request_id=request_id,
            owner="user:ada",
            inputs=inputs,
            outputs={},
            action="update",
            revision=2,
        )
        return self.hear(fact)

    def offer(self, version: str, closed: bool = False, **properties: Any) -> list[Any]:
        inputs = {"type": "object", "properties": properties, **({"additionalProperties": False} if closed else {})}
        manifest = {"spec": {"actions": {"create": {}}, "inputs": inputs}}
        return self.hear(
            ManifestApplied(kind="Offering", name="database", version=version, digest="sha256:o", manifest=manifest)
        )


@pytest.fixture
def world() -> Iterator[World]:
    with memory_session(Base.metadata) as session:
        yield World(session)


def kinds(said: list[Any]) -> list[type]:
    return [type(one) for one in said]
