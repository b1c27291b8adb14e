"""Which steps are ready, with everything that is needed to act on them: a few queries for many steps."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlmodel import Session

from entresol_provisioning import store
from entresol_provisioning.domain.graph import DONE, Impossible
from entresol_provisioning.domain.offering import Step
from entresol_provisioning.domain.requests import Request, Resource
from entresol_provisioning.drivers import StepWork
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.scopes import variables


@dataclass(frozen=True, slots=True)
class Intent:
    """A step that is to be tried now."""

    key: tuple[str, str]
    """Run and step."""
    attempt: int
    position: int
    request: Request
    resource: Resource | None
    step: Step
    outputs: Mapping[str, Mapping[str, Any]]
    """Of the steps that are done, by step."""
    previous: Mapping[str, Any] | None
    destination: dict[str, Any] | None
    """For a destroy: where the step wrote."""

    def variables(self, capabilities: Mapping[str, bool]) -> dict[str, Any]:
        return variables(self.request, self.resource, self.outputs, capabilities)

    def work(
        self,
        with_: dict[str, Any],
        scope: dict[str, Any],
        destination: dict[str, Any] | None,
        deadline: float,
        *,
        attempted: bool,
    ) -> StepWork:
        request = self.request
        return StepWork(
            request_id=request.id,
            run_id=self.key[0],
            step=self.step.name,
            idempotency_key="/".join(self.key),
            action=request.action,
            resource_id=request.resource_id,
            project=request.project,
            environment=request.environment,
            offering=request.offering,
            name=request.name,
            actor=request.actor["id"],
            with_=with_,
            inputs=scope["inputs"],
            scope=scope,
            previous=self.previous,
            destination=destination,
            deadline=deadline,
            attempted=attempted,
            destroys=request.destroys,
        )

    def undo(self, with_: dict[str, Any], destination: dict[str, Any] | None) -> dict[str, Any]:
        """What has to be remembered to take the step's effect down again."""
        return {
            "position": self.position,
            "driver": self.step.driver,
            "needs": list(self.step.needs),
            "with_": with_,
            "destination": destination,
        }


_READY = (
    select(store.step.c.run_id, store.step.c.name)
    .where(store.step.c.state == "ready")
    .order_by(store.step.c.run_id, store.step.c.position)
    .limit(bindparam("most"))
)
_STEP = (
    store.step.c.run_id,
    store.step.c.name,
    store.step.c.attempt,
    store.step.c.position,
    store.step.c.driver,
    store.step.c.needs,
)
_STEP_COLUMNS = len(_STEP)
_DETAILS = (
    select(*_STEP, *store.request.c)
    .join_from(store.step, store.request, store.request.c.run_id == store.step.c.run_id)
    .where(store.step.c.state == "ready", store.step.c.run_id.in_(bindparam("runs", expanding=True)))
    .order_by(store.step.c.run_id, store.step.c.position)
)
_RESOURCES = select(store.resource).where(store.resource.c.id.in_(bindparam("ids", expanding=True)))
_FOOTPRINTS = select(store.footprint).where(store.footprint.c.resource_id.in_(bindparam("ids", expanding=True)))
_DONE = select(
    store.step.c.run_id, store.step.c.name, store.step.c.state, store.step.c.outputs, store.step.c.plan
).where(store.step.c.run_id.in_(bindparam("runs", expanding=True)))


def suspects(session: Session) -> set[tuple[str, str]]:
    """Steps that may have been attempted before this process began."""
    query = select(store.step.c.run_id, store.step.c.name).where(store.step.c.state == "ready")
    return {(row.run_id, row.name) for row in session.connection().execute(query)}


def ready(session: Session, offerings: Offerings, acting: Collection[tuple[str, str]], limit: int) -> list[Intent]:
    """The oldest steps that are ready and not acted on already, at most `limit`."""
    connection = session.connection()
    # Keys first: most of what is ready is under way, and reading all of it again at every look would be the most
    # expensive thing that provisioning does.
    oldest = connection.execute(_READY, {"most": limit + len(acting)})
    fresh = [(row.run_id, row.name) for row in oldest if (row.run_id, row.name) not in acting][:limit]
    if not fresh:
        return []
    wanted = set(fresh)
    rows = [
        (row[:_STEP_COLUMNS], Request(*row[_STEP_COLUMNS:]))
        for row in connection.execute(_DETAILS, {"runs": list({run_id for run_id, _ in fresh})})
        if (row.run_id, row.name) in wanted
    ]
    asked = [one for _, one in rows]
    there = [one.resource_id for one in asked if one.action != "create"]
    resources: dict[str, Resource] = {}
    if there:
        resources = {row.id: Resource(*row) for row in connection.execute(_RESOURCES, {"ids": there})}
    left: dict[str, dict[str, Any]] = defaultdict(dict)
    for trace in connection.execute(_FOOTPRINTS, {"ids": list({one.resource_id for one in asked})}):
        left[trace.resource_id][trace.step] = trace
    done: dict[str, dict[str, Any]] = defaultdict(dict)
    if several := [one.run_id for one in asked if one.steps > 1]:
        for ended in connection.execute(_DONE, {"runs": several}):
            done[ended.run_id][ended.name] = ended
    intents = []
    for (run_id, name, attempt, position, driver, needs), one in rows:
        footprint = left[one.resource_id].get(name)
        intents.append(
            Intent(
                key=(run_id, name),
                attempt=attempt,
                position=position,
                request=one,
                resource=resources.get(one.resource_id),
                step=_spec(session, offerings, one, name, driver, tuple(needs), footprint),
                outputs=_outputs(one, name, done[run_id], left[one.resource_id]),
                previous=None if footprint is None else footprint.outputs,
                destination=None if footprint is None else footprint.destination,
            )
        )
    return intents


def _spec(
    session: Session,
    offerings: Offerings,
    request: Request,
    name: str,
    driver: str,
    needs: tuple[str, ...],
    footprint: Any,
) -> Step:
    if request.destroys:
        return Step(name, driver, {} if footprint is None else footprint.with_, needs)
    offering = offerings.get(session.connection(), request.offering_digest)
    found = (
        None
        if offering is None
        else next((one for one in offering.steps(request.action) or () if one.name == name), None)
    )
    if found is None:
        raise Impossible(f"step {name} of run {request.run_id} is in no offering")
    return found


def _outputs(request: Request, name: str, run: Mapping[str, Any], left: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Outputs that the step may name: of earlier runs for steps that this one has not, else only of what is done.

    In a dry run nothing gets done, so the outputs from before stand for steps that would not change.
    """
    outputs = {other: one.outputs for other, one in left.items() if other not in run and other != name}
    for other, one in run.items():
        if one.state not in DONE:
            continue
        if not request.dry_run:
            outputs[other] = one.outputs or {}
        elif one.state == "skipped":
            outputs[other] = {}
        elif other in left and not any(one.plan[count] for count in ("adds", "changes", "destroys")):
            outputs[other] = left[other].outputs
    return outputs
