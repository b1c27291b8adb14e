"""What a lock or waiver is about, and who is meant by a list of people."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


class Request(Protocol):
    """As much of a request as a scope can name."""

    @property
    def request_id(self) -> str: ...
    @property
    def resource_id(self) -> str: ...
    @property
    def project(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def offering(self) -> str: ...
    @property
    def action(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """The requests for which every field that is there says the same; without any field, all requests."""

    project: str | None = None
    environment: str | None = None
    offering: str | None = None
    resource: str | None = None
    """project/environment/offering/name."""
    action: str | None = None
    request: str | None = None
    """One request, by its id."""

    def fits(self, request: Request) -> bool:
        """Whether it is about the request. Nothing is a pattern: `prod*` is the name `prod*`."""
        pairs = (
            (self.project, request.project),
            (self.environment, request.environment),
            (self.offering, request.offering),
            (self.resource, request.resource_id),
            (self.action, request.action),
            (self.request, request.request_id),
        )
        return all(wanted is None or wanted == found for wanted, found in pairs)


def entitled(who: Collection[str], actor: str, groups: Collection[str]) -> bool:
    """Whether the actor is named, or is in a named group.

    Groups are named `group:…`; those of the actor come without it, so that no actor gets in by what it is called.
    """
    return bool(claims(who, actor, groups))


def claims(who: Collection[str], actor: str, groups: Collection[str]) -> tuple[str, ...]:
    """The entries that mean the actor, in the order of the list, each once."""
    called = {f"group:{group}" for group in groups}
    if not actor.startswith("group:"):
        called.add(actor)
    return tuple(dict.fromkeys(one for one in who if one in called))
