"""What was provisioned: a resource's inputs and outputs, its end, its drift and its pause, and what it leaves behind.

Facts come in the order of the log. One that bears a lower sequence than was seen is older than what is known, and
changes nothing; neither does one about a resource that is gone.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

ResourceState = Literal["provisioned", "expiring", "expired", "deleted"]
DriftMode = Literal["report", "correct", "ask"]


@dataclass(slots=True)
class EntityRef:
    blueprint: str
    identifier: str


@dataclass(slots=True)
class Difference:
    """One place where the world is not what a step made of it."""

    step: str
    path: str
    change: Literal["added", "removed", "changed"]


@dataclass(slots=True)
class Drift:
    since: datetime
    """When it was seen first."""
    checked_at: datetime
    """When it was seen to be as it is now."""
    mode: DriftMode
    """What follows, by its offering."""
    differences: list[Difference]
    more: int
    """Differences that are not listed."""
    gone: list[str]
    """Steps of which nothing is there any more."""
    again_at: datetime | None = None
    """When it is asked for again at the earliest that it be put right, if it still is like that; None: nobody asks."""


@dataclass(slots=True)
class Unobserved:
    """Looks for drift fail: what is known of it is as old as the last that did not."""

    since: datetime
    """When the first of the looks began that have failed since."""
    reason: str
    """Why."""
    seen_at: datetime | None
    """When it was last looked at; None: never since it was made."""


@dataclass(slots=True)
class Pause:
    """Nothing is done to the resource meanwhile."""

    by: str
    reason: str
    since: datetime
    until: datetime
    """When it ends by itself, which is told."""
    request: str


@dataclass(slots=True)
class Orphan:
    """Something that a deleted resource has left in the world."""

    step: str
    driver: str
    reason: str
    """Why it was not removed."""


@dataclass(slots=True)
class Revision:
    """The resource as one request has made it: what a rollback goes back to."""

    resource: str
    revision: int
    """Rises with every change, also across a deletion; not every number is one of these."""
    at: datetime
    request_id: str
    action: str
    version: str
    inputs: dict[str, Any]
    """All of them."""
    implementation: str | None
    class_: str | None = field(metadata={"alias": "class"})


@dataclass(slots=True)
class Made:
    """What a request has made of a resource."""

    request: str
    action: str
    offering_version: str
    owner: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    expires_at: datetime | None
    entity: EntityRef | None
    implementation: str | None
    class_: str | None
    requires: dict[str, str]
    revision: int | None
    """None in facts from before they told it."""


@dataclass(slots=True)
class Resource:
    id: str
    project: str
    environment: str
    offering: str
    offering_version: str
    name: str
    owner: str
    request: str
    """The request that changed it last."""
    created_at: datetime
    updated_at: datetime
    created_by: str
    """The request that brought it into being."""
    state: ResourceState = "provisioned"
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    entity: EntityRef | None = None
    revision: int = 1
    """How often this picture of it has changed."""
    snapshot: int = 0
    """Which of its revisions it is, as a request has made it."""
    implementation: str | None = None
    """Which of the offering's implementations was chosen; None if it has one only."""
    class_: str | None = field(default=None, metadata={"alias": "class"})
    requires: dict[str, str] = field(default_factory=dict)
    """Resources that it needs, by what it calls them."""
    adopted: bool = False
    """It was there before it was owned."""
    drift: Drift | None = None
    unobserved: Unobserved | None = None
    paused: Pause | None = None
    orphaned: list[Orphan] = field(default_factory=list)
    """What it has left in the world when it was deleted."""
    sequence: int | None = None
    """The highest that a fact has borne that changed it."""

    @property
    def deleted(self) -> bool:
        return self.state == "deleted"

    def outdates(self, sequence: int | None) -> bool:
        """Whether a fact with this sequence is older than what is known."""
        return sequence is not None and self.sequence is not None and sequence < self.sequence

    def make(self, made: Made, at: datetime) -> Revision:
        """It is as the request has made it. A fact from before revisions were told counts on, one for each request."""
        number = made.revision
        if number is None:
            number = self.snapshot if self.snapshot and self.request == made.request else self.snapshot + 1
        self.snapshot, self.request = number, made.request
        self.offering_version, self.owner = made.offering_version, made.owner
        self.inputs, self.outputs, self.entity = made.inputs, made.outputs, made.entity
        self.expires_at, self.requires = made.expires_at, made.requires
        self.implementation, self.class_ = made.implementation, made.class_
        return Revision(
            resource=self.id,
            revision=number,
            at=at,
            request_id=made.request,
            action=made.action,
            version=made.offering_version,
            inputs=made.inputs,
            implementation=made.implementation,
            class_=made.class_,
        )

    def change(self, made: Made, at: datetime) -> Revision | None:
        """What has become of it; None if it is gone."""
        if self.deleted:
            return None
        if made.expires_at != self.expires_at:
            self.state = "provisioned"
        revision = self.make(made, at)
        self._changed(at)
        return revision

    def extend(self, request: str, expires_at: datetime, at: datetime) -> bool:
        if self.deleted:
            return False
        self.request, self.expires_at, self.state = request, expires_at, "provisioned"
        return self._changed(at)

    def warn(self, expires_at: datetime, at: datetime) -> bool:
        """Its end is near. A warning about an end that was put off since is too late."""
        if self.state not in ("provisioned", "expiring") or expires_at != self.expires_at:
            return False
        self.state = "expiring"
        return self._changed(at)

    def expire(self, expired_at: datetime, at: datetime) -> bool:
        if self.state not in ("provisioned", "expiring"):
            return False
        self.state, self.expires_at = "expired", expired_at
        return self._changed(at)

    def drifted(self, drift: Drift, at: datetime) -> bool:
        """It has drifted since it was first seen to, however often it is seen again."""
        if self.deleted:
            return False
        if self.drift is not None:
            drift.since = self.drift.since
        if drift == self.drift:
            return False
        self.drift = drift
        return self._changed(at)

    def converge(self, at: datetime) -> bool:
        if self.drift is None:
            return False
        self.drift = None
        return self._changed(at)

    def lose_sight(self, unobserved: Unobserved, at: datetime) -> bool:
        if self.deleted or unobserved == self.unobserved:
            return False
        self.unobserved = unobserved
        return self._changed(at)

    def observe(self, at: datetime) -> bool:
        if self.unobserved is None:
            return False
        self.unobserved = None
        return self._changed(at)

    def pause(self, pause: Pause, at: datetime) -> bool:
        if self.deleted:
            return False
        if self.paused is not None and self.paused.request == pause.request:
            pause.since = self.paused.since
        if pause == self.paused:
            return False
        self.paused = pause
        return self._changed(at)

    def unpause(self, at: datetime) -> bool:
        if self.paused is None:
            return False
        self.paused = None
        return self._changed(at)

    def delete(self, request: str, orphaned: list[Orphan], at: datetime) -> bool:
        if self.deleted:
            return False
        self.state, self.request, self.entity = "deleted", request, None
        self.drift, self.unobserved, self.paused = None, None, None
        self.requires, self.orphaned = {}, orphaned
        return self._changed(at)

    def _changed(self, at: datetime) -> bool:
        self.revision += 1
        self.updated_at = at
        return True
