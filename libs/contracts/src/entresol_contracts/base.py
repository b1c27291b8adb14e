"""What every payload and every manifest model has in common.

Payloads ignore fields they don't know: within a major version only optional fields are added, so a reader
older than the writer must not stumble. Manifests refuse them: there an unknown field is a typing error.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """The `data` of one event type."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Document(BaseModel):
    """A manifest, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


@dataclass(frozen=True, slots=True)
class EventType:
    """One row of the event catalogue."""

    fact: str
    """Aggregate and past participle, such as `request.submitted`."""
    major: int
    publisher: str
    """The service that publishes it; `any` where each service may."""
    dataschema: str
    """The schema's `$id`, which holds the minor version."""
    model: type[Payload]

    @property
    def type(self) -> str:
        """The CloudEvents `type` attribute."""
        return f"dev.entresol.{self.fact}.v{self.major}"
