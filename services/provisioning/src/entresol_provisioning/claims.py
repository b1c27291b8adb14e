"""Which steps are ready, with everything that is needed to act on them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entresol_eventing.statements import Statement
from sqlalchemy import bindparam, select
from sqlmodel import Session

from entresol_provisioning import plans, store
from entresol_provisioning.domain.graph import DONE, Impossible, StepState
from entresol_provisioning.domain.offering import Step
from entresol_provisioning.domain.requests import Request, Resource
from entresol_provisioning.drivers import StepWork
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.scopes import variables
from entresol_provisioning.store import Footprint


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
    held: str | None
    """What it may do: digest of its approved plan, or `skipped`; None: whatever is needed."""

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
            approved=self.held,
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


_READY = Statement(
    select(store.step.c.run_id, store.step.c.name, store.step.c.attempt, store.step.c.position, store.step.c.driver)
    .add_columns(store.step.c.needs, store.step.c.approved)
    .where(store.step.c.state == "ready")
    .order_by(store.step.c.run_id, store.step.c.position)
    .limit(bindparam("most"))
)


def suspects(session: Session) -> set[tuple[str, str]]:
    """Steps that may have been attempted before this process began."""
    query = select(store.step.c.run_id, store.step.c.name).where(store.step.c.state == "ready")
    return {(row.run_id, row.name) for row in session.connection().execute(query)}


def ready(session: Session, offerings: Offerings, acting: Collection[tuple[str, str]], limit: int) -> list[Intent]:
    """The oldest steps that are ready and not acted on already, at most `limit`."""
    connection = session.connection()
    oldest = _READY.rows(connection, most=limit + len(acting))
    fresh = [row for row in oldest if (row[0], row[1]) not in acting][:limit]
    return [_intent(session, offerings, *row) for row in fresh]


def _intent(
    session: Session,
    offerings: Offerings,
    run_id: str,
    name: str,
    attempt: int,
    position: int,
    driver: str,
    needs: Sequence[str],
    held: str | None,
) -> Intent:
    connection = session.connection()
    request = store.find_run(connection, run_id)
    assert request is not None
    left = {one.step: one for one in store.footprints_of(connection, request.resource_id)}
    done = store.steps_of(connection, run_id) if request.steps > 1 else {}
    footprint = left.get(name)
    return Intent(
        key=(run_id, name),
        attempt=attempt,
        position=position,
        request=request,
        resource=None if request.action == "create" else store.find_resource(connection, request.resource_id),
        step=_spec(session, offerings, request, name, driver, tuple(needs), footprint),
        outputs=_outputs(request, name, done, left),
        previous=None if footprint is None else footprint.outputs,
        destination=None if footprint is None else footprint.destination,
        held=held,
    )


def _spec(
    session: Session,
    offerings: Offerings,
    request: Request,
    name: str,
    driver: str,
    needs: tuple[str, ...],
    footprint: Footprint | None,
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


def _outputs(
    request: Request, name: str, run: Mapping[str, StepState], left: Mapping[str, Footprint]
) -> dict[str, Mapping[str, Any]]:
    """Outputs that the step may name: of earlier runs for steps that this one has not, else only of what is done.

    Where steps are only planned, the outputs from before stand for those that would not change.
    """
    outputs: dict[str, Mapping[str, Any]] = {
        other: one.outputs for other, one in left.items() if other not in run and other != name
    }
    for other, one in run.items():
        if one.state not in DONE:
            continue
        if not request.plans:
            outputs[other] = one.outputs or {}
        elif one.state == "skipped":
            outputs[other] = {}
        elif other in left and plans.changes_nothing(one.plan):
            outputs[other] = left[other].outputs
    return outputs
