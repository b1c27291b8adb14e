"""The driver whose steps stand for other resources: what an offering requires is made, shared and given up like the
effect of any step, by requests of their own that pass the same gates.

`with`: `requirement` (its name), `offering`, `version`, `class`, `inputs`, and for a shared one `id`, `project`,
`environment`.

- It touches nothing: it suspends the step, and provisioning says what is required; whoever submits requests does so.
- An own resource is made, brought to other inputs and deleted with the one that needs it; one of the same name that
  somebody else asked for is not taken. A shared one is made by the first that needs it, left as it is by others, and
  deleted when nobody needs it any more. What people have asked for themselves is never deleted.
- The end of the other request wakes the step at once; it looks by itself now and then, too.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from entresol_eventing.envelope import new_id
from entresol_eventing.service import Service
from entresol_manifests.digest import digest
from sqlmodel import Session

from entresol_provisioning import store
from entresol_provisioning.domain.offering import RESOURCE
from entresol_provisioning.domain.requests import OPEN, SUCCEEDED, Request, Resource
from entresol_provisioning.drivers import (
    Observation,
    Plan,
    StepFailed,
    StepResult,
    StepSuspended,
    StepWork,
    Touched,
)
from entresol_provisioning.drivers.paths import is_name

LOOK_SECONDS: Final = 60.0
LONGEST_NAME: Final = 63
DEEPEST: Final = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """Another resource, as a step wants it."""

    resource_id: str
    project: str
    environment: str
    offering: str
    name: str
    inputs: dict[str, Any]
    version: str | None = None
    class_: str | None = None

    def as_event(self) -> dict[str, Any]:
        fields = asdict(self)
        fields["class"] = fields.pop("class_")
        return {key: value for key, value in fields.items() if value is not None}


def wanted(work: StepWork) -> Wanted:
    """What the step wants; raise StepFailed for names that can't be."""
    with_ = work.with_
    shared = with_.get("id")
    name = _own_name(work.name, str(with_.get("requirement"))) if shared is None else shared
    project, environment = with_.get("project", work.project), with_.get("environment", work.environment)
    for what, value in (("id", name), ("project", project), ("environment", environment)):
        if not isinstance(value, str) or not is_name(value):
            raise StepFailed(f"the {what} of what it requires is no name: lower-case letters, digits and dashes")
    inputs = with_.get("inputs", {})
    if not isinstance(inputs, dict):
        raise StepFailed("the inputs of what it requires must be an object")
    offering = str(with_.get("offering"))
    return Wanted(
        resource_id=f"{project}/{environment}/{offering}/{name}",
        project=project,
        environment=environment,
        offering=offering,
        name=name,
        inputs=inputs,
        version=with_.get("version"),
        class_=with_.get("class"),
    )


def _own_name(name: str, requirement: str) -> str:
    whole = f"{name}-{requirement}"
    if len(whole) <= LONGEST_NAME:
        return whole
    code = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[: LONGEST_NAME - 9]}-{code}"


@dataclass(frozen=True, slots=True)
class View:
    """What is known of the other resource, and of the request for it."""

    resource: Resource | None
    dependents: tuple[str, ...]
    going: bool
    """Whether a delete of it is under way."""
    asked: Request | None
    circle: tuple[str, ...]
    """What goes round, from one to the same again; empty if nothing does."""
    left: bool
    """Whether something is there of a resource that was begun for others, and never finished."""
    given: bool
    """Whether the one that needs it has had it before."""

    @property
    def there(self) -> Resource | None:
        return self.resource if self.resource is not None and self.resource.exists and not self.going else None


class Requirements:
    name = RESOURCE

    def __init__(self) -> None:
        self._service: Service | None = None

    def bind(self, service: Service) -> None:
        """Whose state it reads; before any step is acted on."""
        self._service = service

    def available(self) -> bool:
        return True

    async def plan(self, work: StepWork) -> Plan:
        want = wanted(work)
        seen = await self._look(work, want)
        if work.destroys:
            return _plan(want, "delete" if self._goes(work, seen) else None)
        return _plan(want, _action(work, want, seen))

    async def apply(self, work: StepWork) -> StepResult:
        want = wanted(work)
        seen = await self._look(work, want)
        if seen.circle:
            raise StepFailed(f"what it requires goes round in a circle: {' → '.join(seen.circle)}")
        if (asked := work.memory.get("request_id")) is not None:
            self._check(want, seen, str(asked), "provided")
            if seen.there is None:
                raise StepFailed(f"{want.resource_id} was made, and is gone again")
            return StepResult(dict(seen.there.outputs), f"{want.resource_id} is there")
        action = _action(work, want, seen)
        work.hold_to(_plan(want, action).digest)
        if action is None and seen.there is not None:
            return StepResult(dict(seen.there.outputs), f"{want.resource_id} is there")
        raise _asks(action or "create", want)

    async def destroy(self, work: StepWork) -> StepResult:
        want = wanted(work)
        seen = await self._look(work, want)
        if not self._goes(work, seen):
            if not work.memory:
                work.hold_to(_plan(want, None).digest)
            stays = seen.resource is not None and seen.resource.exists
            return StepResult(message=f"{want.resource_id} {'stays: it is needed' if stays else 'is gone'}")
        if (asked := work.memory.get("request_id")) is not None:
            self._check(want, seen, str(asked), "deleted")
        else:
            work.hold_to(_plan(want, "delete").digest)
        raise _asks("delete", want)

    async def observe(self, work: StepWork) -> Observation:
        want = wanted(work)
        seen = await self._look(work, want)
        if work.destroys:
            return Observation(exists=self._goes(work, seen))
        there = seen.there
        return Observation(exists=there is not None, outputs=None if there is None else dict(there.outputs))

    async def close(self) -> None:
        pass

    def _check(self, want: Wanted, seen: View, asked: str, doing: str) -> None:
        """Return if the request that was made for it has succeeded; else wait, or say why it did not."""
        if seen.asked is None or seen.asked.state in OPEN:
            reason = f"{want.resource_id} is being {doing}"
            raise StepSuspended(reason, look_after_seconds=LOOK_SECONDS, memory={"request_id": asked})
        if seen.asked.state != SUCCEEDED:
            said = (seen.asked.stop or {}).get("reason") or seen.asked.state
            raise StepFailed(f"{want.resource_id} could not be {doing}: {said}; see request {asked}")

    @staticmethod
    def _goes(work: StepWork, seen: View) -> bool:
        """Whether nobody needs it any more but the one that gives it up, and it was made to be needed."""
        if seen.resource is None or not seen.resource.exists:
            return seen.left
        if seen.resource.requirement is None:
            return False
        return not any(one != work.resource_id for one in seen.dependents)

    async def _look(self, work: StepWork, want: Wanted) -> View:
        assert self._service is not None
        return await self._service.read(_view(work, want))


def _action(work: StepWork, want: Wanted, seen: View) -> str | None:
    if seen.there is None:
        return "create"
    if "id" in work.with_:
        return None
    _look_whether_own(work, seen, seen.there)
    same = seen.there.inputs == {**seen.there.inputs, **want.inputs}
    return None if same and want.version in (None, seen.there.offering_version) else "update"


def _look_whether_own(work: StepWork, seen: View, there: Resource) -> None:
    """Raises StepFailed for a resource that bears the name, and was neither made for this one nor adopted with it."""
    needing = None if there.requirement is None else there.requirement["resource_id"]
    if seen.given or needing == work.resource_id:
        return
    whose = f"{there.owner}'s own" if needing is None else f"made for {needing}"
    raise StepFailed(
        f"{there.id}, which it would make for itself, is there already and is {whose}; "
        "delete that, take another name, or share it: `id` in the offering's `requires`"
    )


def _asks(action: str, want: Wanted) -> StepSuspended:
    if action == "delete":
        want = replace(want, inputs={}, version=None)
    memory = {"request_id": new_id(), "action": action, "wanted": want.as_event()}
    doing = "deleted" if action == "delete" else "provided"
    return StepSuspended(f"{want.resource_id} is being {doing}", look_after_seconds=LOOK_SECONDS, memory=memory)


def _plan(want: Wanted, action: str | None) -> Plan:
    """What is asked for; None: nothing."""
    code = digest({"resource": want.resource_id, "action": action, "wanted": want.as_event() if action else None})
    if action is None:
        return Plan(digest=code)
    changes: dict[str, Literal["add", "change", "destroy"]] = {"create": "add", "update": "change", "delete": "destroy"}
    change = changes[action]
    return Plan(
        digest=code,
        adds=int(change == "add"),
        changes=int(change == "change"),
        destroys=int(change == "destroy"),
        summary=(f"{action} {want.resource_id}",),
        resources=(Touched(want.resource_id, change, want.offering),),
    )


def _view(work: StepWork, want: Wanted) -> Callable[[Session], View]:
    asked = work.memory.get("request_id")

    def query(session: Session) -> View:
        connection = session.connection()
        return View(
            resource=store.find_resource(connection, want.resource_id),
            dependents=tuple(store.dependents(connection, want.resource_id)),
            going=store.open_delete(connection, want.resource_id),
            asked=None if asked is None else store.find_request(connection, str(asked)),
            circle=_circle(session, work, want),
            left=_left(session, want),
            given=_given(session, work),
        )

    return query


def _circle(session: Session, work: StepWork, want: Wanted) -> tuple[str, ...]:
    """The way round, if what is wanted waits for this one, or if this one is what it was made for over again.

    Other inputs, another class or another version may end it, but not deeper down than DEEPEST.
    """
    chain: list[Request] = []
    following: str | None = work.request_id
    while following is not None and (one := store.find_request(session.connection(), following)) is not None:
        chain.insert(0, one)
        if one.resource_id == want.resource_id:
            return (*(each.resource_id for each in chain), want.resource_id)
        if (len(chain) > 1 and _made_alike(one, chain[-1])) or len(chain) == DEEPEST:
            return tuple(f"{each.offering} {each.offering_version}" for each in chain)
        following = None if one.requirement is None else one.requirement["request_id"]
    return ()


def _made_alike(one: Request, other: Request) -> bool:
    same = (one.offering, one.offering_version, one.class_) == (other.offering, other.offering_version, other.class_)
    return same and one.inputs == other.inputs


def _left(session: Session, want: Wanted) -> bool:
    connection = session.connection()
    runs = {one.run_id for one in store.footprints_of(connection, want.resource_id)}
    begun = [store.find_run(connection, run_id) for run_id in runs]
    return any(one is not None and one.requirement is not None for one in begun)


def _given(session: Session, work: StepWork) -> bool:
    left = store.footprints_of(session.connection(), work.resource_id)
    return any(one.step == work.step and (one.fingerprint is not None or one.outputs) for one in left)
