"""What was provisioned: a resource's inputs and outputs, its end, and the entity it contributes."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

ResourceState = Literal["provisioned", "expiring", "expired", "deleted"]


@dataclass(slots=True)
class EntityRef:
    blueprint: str
    identifier: str


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

    @property
    def deleted(self) -> bool:
        return self.state == "deleted"

    def change(
        self,
        *,
        request: str,
        offering_version: str,
        owner: str,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        expires_at: datetime | None,
        entity: EntityRef | None,
        at: datetime,
    ) -> bool:
        if self.deleted:
            return False
        self.request, self.offering_version, self.owner = request, offering_version, owner
        self.inputs, self.outputs, self.entity = inputs, outputs, entity
        if expires_at != self.expires_at:
            self.state = "provisioned"
        self.expires_at = expires_at
        return self._changed(at)

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

    def delete(self, request: str, at: datetime) -> bool:
        if self.deleted:
            return False
        self.state, self.request, self.entity = "deleted", request, None
        return self._changed(at)

    def _changed(self, at: datetime) -> bool:
        self.revision += 1
        self.updated_at = at
        return True
