"""Steps that are ready, with everything that is needed to act on them."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from entresol_manifests.digest import digest
from sqlalchemy import Connection
from sqlmodel import Session

from entresol_provisioning import plans, store
from entresol_provisioning.domain.graph import DONE, Impossible, StepState
from entresol_provisioning.domain.offering import LONGEST_WAIT_SECONDS, RESOURCE, Offering, Step
from entresol_provisioning.domain.requests import Request, Resource
from entresol_provisioning.drivers import StepWork
from entresol_provisioning.offerings import Offerings
from entresol_provisioning.scopes import variables
from entresol_provisioning.store import Footprint
from entresol_provisioning.turns import Ready, Slots, taken

UNDO: Final = "undo/"
"""What the name of a step begins with that undoes another one of the same run."""
APPLY: Final = "apply"
ADOPT: Final = "adopt"
DESTROY: Final = "destroy"
RESTORE: Final = "restore"
"""What a step does: make, own what is there, take down, or make again what stood there before."""
_NOT_MADE_OF = frozenset({"request", "actor", "resource", "capabilities"})
"""What a step may read, and is still unchanged if that differs."""


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
    act: str
    outputs: Mapping[str, Mapping[str, Any]]
    """Of the steps that are done, by step."""
    footprint: Footprint | None
    """What the step has left before."""
    held: str | None
    """What it may do: digest of its approved plan, or `skipped`; None: whatever is needed."""
    memory: Mapping[str, Any]
    """Of a step that was suspended: {reason, until, resumable, memory, answer, withdraws, given_up}."""

    @property
    def destroys(self) -> bool:
        return self.act == DESTROY

    @property
    def given_up(self) -> Mapping[str, Any] | None:
        """Of a step that is only withdrawn: how it ends then, {state, reason}."""
        return self.memory.get("given_up")

    @property
    def fills(self) -> bool:
        """Whether what the driver needs is worked out now; what was done before is undone with what was known then."""
        return self.act in (APPLY, ADOPT)

    @property
    def previous(self) -> Mapping[str, Any] | None:
        return None if self.footprint is None else self.footprint.outputs

    @property
    def destination(self) -> dict[str, Any] | None:
        """Where the step wrote when it was last done, or before that if it is put back."""
        if self.footprint is None:
            return None
        former = self.footprint.former if self.act == RESTORE else None
        return self.footprint.destination if former is None else former["destination"]

    def taking_down(self) -> "Intent":
        """The same, of a step that is not wanted any more, but has left something."""
        assert self.footprint is not None
        gone = Step(self.step.name, self.footprint.driver, self.footprint.with_, self.step.needs)
        return replace(self, act=DESTROY, step=gone)

    def variables(self, capabilities: Mapping[str, bool]) -> dict[str, Any]:
        request = self.request
        if self.act == RESTORE and self.resource is not None:
            request = request.but(effective=self.resource.inputs)
        return variables(request, self.resource, self.outputs, capabilities)

    def work(
        self,
        with_: dict[str, Any],
        scope: dict[str, Any],
        destination: dict[str, Any] | None,
        deadline: float,
        *,
        attempted: bool,
        others: Callable[[Collection[str]], Awaitable[Mapping[str, str]]],
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
            attempted=attempted or bool(self.memory),
            destroys=self.destroys,
            adopts=self.act == ADOPT,
            memory=self.memory.get("memory", {}),
            answer=self.memory.get("answer"),
            approved=self.held,
            others=others,
        )

    def undo(self, with_: dict[str, Any], destination: dict[str, Any] | None) -> dict[str, Any]:
        """What has to be remembered to take the step's effect down again."""
        return {
            "position": self.position,
            "driver": self.step.driver,
            "needs": list(self.step.needs),
            "with_": with_,
            "destination": destination,
            "former": self._former(),
        }

    def _former(self) -> dict[str, Any] | None:
        """What stood there before this request did anything, for putting it back."""
        if self.footprint is None:
            return None
        if self.footprint.run_id == self.key[0] or self.step.name in self.request.applied:
            return self.footprint.former
        kept = ("run_id", "position", "driver", "needs", "with_", "destination", "outputs", "fingerprint")
        return {name: getattr(self.footprint, name) for name in kept}

    def fingerprint(
        self, with_: Mapping[str, Any], scope: Mapping[str, Any], destination: Mapping[str, Any] | None
    ) -> str:
        """Of everything that the step is done with. Templates may read more than their placeholders show."""
        read = {name: value for name, value in scope.items() if name not in _NOT_MADE_OF} if "files" in with_ else None
        return digest({"driver": self.step.driver, "with": with_, "destination": destination, "scope": read})


def ready(
    session: Session, offerings: Offerings, slots: Slots, acting: Mapping[tuple[str, str], str] | None = None
) -> list[Intent]:
    """The steps whose turn it is; `acting` is as for `turns.taken`."""
    connection = session.connection()
    found = taken(connection, slots, acting or {})
    runs = {run_id: _run(connection, offerings, run_id) for run_id in {one.run_id for one in found}}
    return [_intent(runs[one.run_id], one) for one in found]


class Run(NamedTuple):
    """What all steps of a run have in common."""

    request: Request
    resource: Resource | None
    offering: Offering | None
    left: Mapping[str, Footprint]
    """What steps have left, by step."""
    steps: Mapping[str, StepState]
    """Empty where there is only one."""


def _run(connection: Connection, offerings: Offerings, run_id: str) -> Run:
    request = store.find_run(connection, run_id)
    assert request is not None
    return Run(
        request=request,
        resource=None if request.action == "create" else store.find_resource(connection, request.resource_id),
        offering=offerings.get(connection, request.offering_digest),
        left={each.step: each for each in store.footprints_of(connection, request.resource_id)},
        steps=store.steps_of(connection, run_id) if request.steps > 1 else {},
    )


def _intent(run: Run, one: Ready) -> Intent:
    footprint = run.left.get(one.name.removeprefix(UNDO))
    return Intent(
        key=(one.run_id, one.name),
        attempt=one.attempt,
        position=one.position,
        request=run.request,
        resource=run.resource,
        step=_spec(run.offering, run.request, one, footprint),
        act=one.act,
        outputs=_outputs(run.request, one.name, run.steps, run.left),
        footprint=footprint,
        held=one.held,
        memory=one.memory or {},
    )


def _spec(offering: Offering | None, request: Request, one: Ready, footprint: Footprint | None) -> Step:
    name = one.name.removeprefix(UNDO)
    needs = tuple(one.needs)
    if one.act == DESTROY:
        return _patiently(
            Step(name, one.driver, {} if footprint is None else footprint.with_, needs), offering, request
        )
    if one.act == RESTORE:
        former = None if footprint is None else footprint.former
        return _patiently(Step(name, one.driver, {} if former is None else former["with_"], needs), offering, request)
    listed = () if offering is None else offering.action(request.action, request.implementation).steps or ()
    found = next((each for each in listed if each.name == name), None)
    if found is None:
        raise Impossible(f"step {name} of run {request.run_id} is in no offering")
    if one.name != name and found.compensate is not None:
        return Step(name, found.compensate.driver, found.compensate.with_, needs, timeout_seconds=found.timeout_seconds)
    return found


def _patiently(step: Step, offering: Offering | None, request: Request) -> Step:
    """What undoes a step may take as long, and is tried as often, as the offering says of making it."""
    if step.driver == RESOURCE:
        return replace(step, timeout_seconds=LONGEST_WAIT_SECONDS)
    listed = () if offering is None else offering.action("create", request.implementation).steps or ()
    made = next((one for one in listed if one.name == step.name and one.driver == step.driver), step)
    return replace(
        step, timeout_seconds=made.timeout_seconds, retries=made.retries, backoff_seconds=made.backoff_seconds
    )


def _outputs(
    request: Request, name: str, run: Mapping[str, StepState], left: Mapping[str, Footprint]
) -> dict[str, Mapping[str, Any]]:
    """Outputs that the step may name: of earlier runs for steps that this one has not, else only of what is done.

    Where steps are only planned, the outputs from before stand for those that would not change.
    """
    outputs: dict[str, Mapping[str, Any]] = {
        other: one.outputs or {} for other, one in left.items() if other not in run and other != name
    }
    for other, one in run.items():
        if one.state not in DONE or one.act == DESTROY:
            continue
        if not request.plans:
            outputs[other] = one.outputs or {}
        elif one.state == "skipped":
            outputs[other] = {}
        elif one.driver == RESOURCE and plans.changes_nothing(one.plan):
            outputs[other] = one.outputs or {}
        elif other in left and plans.changes_nothing(one.plan):
            outputs[other] = left[other].outputs or {}
    return outputs
