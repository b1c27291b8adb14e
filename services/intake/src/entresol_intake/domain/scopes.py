"""What a lock or waiver is about: requests that fit every field that the scope names."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from entresol_intake.domain.asks import MAX_REQUEST_ID
from entresol_intake.domain.faults import prefixed
from entresol_intake.domain.shapes import SLUG_RULE, Fields, is_slug

PLACES: Final = ("project", "environment", "offering")
"""The parts of a resource's id before its name, in order."""
LOCKABLE: Final = (*PLACES, "resource", "action")
WAIVABLE: Final = (*LOCKABLE, "request")


@dataclass(frozen=True, slots=True)
class Scope:
    project: str | None = None
    environment: str | None = None
    offering: str | None = None
    resource: str | None = None
    action: str | None = None
    request: str | None = None

    @property
    def within(self) -> str | None:
        """The project that it can't reach out of; None if no project or resource is named."""
        return self.project if self.resource is None else self.resource.partition("/")[0]

    @property
    def is_everything(self) -> bool:
        return self == Scope()


def read_scope(document: Fields, known: Collection[str]) -> Scope:
    """Read the field `scope`; what is wrong with it is added to the document's faults.

    It can't be left out: a lock on everything has to be meant. What contradicts itself would fit nothing, and is
    refused.
    """
    if "scope" not in document.values:
        document.refuse("scope", "is missing; {} is everything")
        return Scope()
    fields = Fields(document.record("scope"), known)
    slugs = {name: fields.slug(name) for name in (*PLACES, "action") if name in fields.values}
    resource = _resource(fields) if "resource" in fields.values else None
    request = None
    if "request" in fields.values and "request" in known:
        request = fields.text("request", most=MAX_REQUEST_ID, required=True)
        if request is not None and not request.isprintable():
            fields.refuse("request", "must be the id of a request")
    for name, part in zip(PLACES, resource.split("/") if resource else (), strict=False):
        if slugs.get(name, part) not in (part, ""):
            fields.refuse("resource", f"is not of the {name} that the scope names")
    document.faults += prefixed("/scope", fields.faults)
    return Scope(resource=resource, request=request, **slugs)


def _resource(fields: Fields) -> str | None:
    value = fields.values["resource"]
    if isinstance(value, str) and value.count("/") == len(PLACES) and all(map(is_slug, value.split("/"))):
        return value
    fields.refuse("resource", f"must be project/environment/offering/name; each {SLUG_RULE}")
    return None
