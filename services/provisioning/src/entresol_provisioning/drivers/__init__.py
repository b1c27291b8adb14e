"""What a driver is: the way in which a step touches the world.

Third parties add drivers by an entry point in the group `entresol.drivers`: a callable that takes the settings and
returns a Driver. What every driver has to hold:

- Each method may be called again with the same work after a crash, and must then lead to the same end.
- With `attempted` set, an earlier attempt may have had its effect: read back before acting again.
- `apply` and `destroy` may be cancelled at any await, at the deadline or when the service stops; no process stays.
- What fails raises StepFailed; its reason never holds a secret.
- What takes long raises StepSuspended instead of waiting: the step is looked at again later, with what the driver
  wants to remember of it, also by another process. Nobody polls inside of a method for more than some seconds.
- Outputs are JSON and hold no secret, only `{"secretRef": …}`.
- With `approved` set, `apply` and `destroy` do what the plan of that digest says, or raise PlanOutdated and have
  touched nothing. So what is to be done is worked out again, as close to doing it as can be. An earlier attempt's
  finished effect is read back first: it is success, not another plan.
- `observe` changes nothing in the world. After a successful `destroy` it finds nothing, but for what that has kept.

`entresol_provisioning.conformance` holds these rules as tests; every driver passes them.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable


async def nobody(addresses: Collection[str]) -> Mapping[str, str]:
    """As if no other step held anything."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWork:
    """One attempt at a step."""

    request_id: str
    run_id: str
    step: str
    idempotency_key: str
    """The same for every attempt at this step of this run: `<run_id>/<step>`."""
    action: str
    resource_id: str
    project: str
    environment: str
    offering: str
    name: str
    actor: str
    with_: Mapping[str, Any]
    """What the offering says for the driver, its placeholders filled; `files` are as written."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    scope: Mapping[str, Any] = field(default_factory=dict)
    """What templates may name; the same as for expressions."""
    previous: Mapping[str, Any] | None = None
    """Outputs of this step when it was last done for the resource; None if it never was."""
    destination: Mapping[str, Any] | None = None
    """Spec of the Destination that `with.destination` names."""
    deadline: float = float("inf")
    """On the clock of `time.monotonic()`."""
    attempted: bool = False
    """Whether an earlier attempt may have had its effect without being recorded."""
    destroys: bool = False
    """For `plan`: whether it is a destroy that is planned."""
    adopts: bool = False
    """For `observe`: what is found is to be owned from now on, so take it into the driver's own books, unchanged."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What the last StepSuspended of this step of this run has asked to remember."""
    answer: Mapping[str, Any] | None = None
    """What a person said who let the suspended step go on; None if it was its time that had come."""
    approved: str | None = None
    """For `apply` and `destroy`: digest of the only plan that may be carried out; None: whatever is needed."""
    others: Callable[[Collection[str]], Awaitable[Mapping[str, str]]] = nobody
    """Of some addresses, as `holdings` has them, those that other steps hold, and the resources of these."""

    @property
    def remaining_seconds(self) -> float:
        return self.deadline - time.monotonic()

    def hold_to(self, digest: str) -> None:
        """Raise PlanOutdated if another plan than this one was approved."""
        if self.approved not in (None, digest):
            raise PlanOutdated


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step has brought about."""

    outputs: dict[str, Any] = field(default_factory=dict)
    message: str | None = None
    kept: str | None = None
    """For `destroy`: what it has left in place on purpose, and why; the deleted resource lists it as orphaned."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the world is not what the step would make of it. Its values are not told: they may be secret."""

    path: str
    """A file, an address or an object; then `#/` and a JSON pointer to the field, if it is known."""
    change: Literal["added", "removed", "changed"]
    """What somebody else seems to have done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was found of a step's effect."""

    exists: bool
    """Whether anything of it is there."""
    differences: tuple[Difference, ...] = ()
    """All of them, in an order that stays the same as long as they do."""
    outputs: dict[str, Any] | None = None
    """What `apply` would give now; None if that can't be told. Needed to adopt."""


@dataclass(frozen=True, slots=True)
class Touched:
    """One thing in the world that a plan would touch."""

    address: str
    """What the driver calls it: a path, an address of terraform."""
    change: Literal["add", "change", "destroy", "replace"]
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a step would do."""

    digest: str
    """Over all that it would do and to what, and nothing that differs from one look to the next. It is published, so
    secrets must not be guessed from it."""
    adds: int = 0
    changes: int = 0
    destroys: int = 0
    summary: tuple[str, ...] = ()
    """One line for each thing that would change."""
    resources: tuple[Touched, ...] = ()


class StepFailed(Exception):
    """Why a step could not be done, for the person who asked; never holds a secret."""

    def __init__(self, reason: str, *, retryable: bool = False, unknown: bool = False, untouched: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        """Whether it may go better next time without anybody changing anything."""
        self.unknown = unknown
        """Whether only a value is missing that another step would give; a plan then says so instead of failing."""
        self.untouched = untouched
        """Whether this attempt has surely changed nothing, so that nothing of it has to be taken down."""


@contextmanager
def beforehand() -> Iterator[None]:
    """What fails in here has changed nothing yet, so nothing of it has to be taken down."""
    try:
        yield
    except StepFailed as failure:
        failure.untouched = True
        raise


class PlanOutdated(StepFailed):
    """What would be done now is not what was approved. Nothing was touched; the request is planned again."""

    def __init__(self) -> None:
        super().__init__("what it would do now is not what was approved")


class StepSuspended(Exception):
    """It is begun and not done. Not a failure: it counts as no attempt, and only the step's time-out ends it."""

    def __init__(
        self,
        reason: str,
        *,
        look_after_seconds: float | None,
        memory: Mapping[str, Any] | None = None,
        resumable: bool = False,
        withdraws: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        """What it waits for, for the person who asked."""
        self.look_after_seconds = look_after_seconds
        """When to call again; None: only once a person has let it go on."""
        self.memory = dict(memory or {})
        """JSON, at most some KiB, without secrets."""
        self.resumable = resumable or look_after_seconds is None
        """Whether a person may let it go on."""
        self.withdraws = withdraws
        """Whether it has to be withdrawn if nobody waits for it any more; only a driver that is Withdrawing says so."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What a driver's steps take and give, for who writes offerings; `contracts.contract` makes one of a model.

    It is published when the service starts. From then on an offering whose steps don't hold to it is refused.
    """

    summary: str
    """What a step of the driver does, in a sentence."""
    settings: Mapping[str, Any]
    """JSON Schema of `with`, once its placeholders are filled."""
    outputs: Mapping[str, Any] | None = None
    """JSON Schema of the outputs, an object; None if they depend on what the step asks for."""


class Driver(Protocol):
    """A way to touch the world.

    One that has a `contract` beside what is named here is held to it, and so are the offerings that name the driver.
    """

    name: str

    def available(self) -> bool:
        """Whether it can work here; expressions see it as `capabilities.<name>`."""
        ...

    async def plan(self, work: StepWork) -> Plan:
        """Tell what `apply` (or `destroy`, if `work.destroys`) would do, without changing anything.

        Raises StepFailed with `unknown` if that needs a value which another step gives.
        """
        ...

    async def apply(self, work: StepWork) -> StepResult:
        """Bring about what the work asks for."""
        ...

    async def destroy(self, work: StepWork) -> StepResult:
        """Take down what `apply` has made; nothing there is a success."""
        ...

    async def observe(self, work: StepWork) -> Observation:
        """Compare what is there with what `apply` would make of this work.

        With `work.destroys`, only whether anything is left of it counts. Where nothing is found that is an
        observation, not a failure; StepFailed means that it can't be told.
        """
        ...

    async def close(self) -> None:
        """Let go of processes and connections; a later call may open them again."""
        ...


def contract_of(driver: Driver) -> Contract | None:
    """What the driver says of itself; None if it says nothing, and then nothing of its steps is judged beforehand."""
    found: Contract | None = getattr(driver, "contract", None)
    return found


@runtime_checkable
class Withdrawing(Driver, Protocol):
    """A driver that can take back what a suspended step has begun."""

    async def withdraw(self, work: StepWork) -> StepResult | None:
        """End what the step has begun, since its run was cancelled, or its time is over. May be called again.

        Returns None once nothing of it is left, and what `apply` or `destroy` would give if it was done meanwhile.
        Raises StepFailed, which says what is left, if it can't be ended.
        """
        ...
