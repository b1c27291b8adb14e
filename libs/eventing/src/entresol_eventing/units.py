"""Units of work: what runs in one transaction, and what it says while it runs."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from sqlmodel import Session

from entresol_eventing.envelope import Cause, compose, log_subject, new_id, now, types_by_model
from entresol_eventing.reactions import Deadline, Emit, Outcome, Unit

R = TypeVar("R")


@dataclass(slots=True)
class Recorded:
    """What a transaction is about to say, collected while its units run."""

    service: str
    parked_keys: set[str]
    """Partition keys with a parked message; shared by all that runs in the writer thread."""
    events: list[dict[str, Any]] = field(default_factory=list)
    deadlines: dict[str, Deadline | None] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    parking_changed: bool = False

    def add(self, outcomes: Iterable[Outcome], cause: Cause, actor: str | None = None) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Emit):
                self.events.append(_row(self.service, outcome, outcome.cause or cause, actor))
            elif isinstance(outcome, Deadline):
                self.deadlines[outcome.key] = Deadline(
                    outcome.key, outcome.kind, outcome.due_at, outcome.args, outcome.cause or cause
                )
            else:
                self.deadlines[outcome.key] = None

    def merge(self, other: "Recorded") -> None:
        self.events += other.events
        self.deadlines |= other.deadlines
        self.cursors |= other.cursors
        self.parking_changed |= other.parking_changed


def _row(service: str, emit: Emit, cause: Cause, actor: str | None) -> dict[str, Any]:
    known = types_by_model()[type(emit.data)]
    event_id = emit.id or new_id()
    recorded_at = now()
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": emit.source or f"/entresol/{service}",
        "type": known.type,
        "subject": emit.subject,
        "time": recorded_at,
        "datacontenttype": "application/json",
        "dataschema": known.dataschema,
        "correlationid": cause.correlationid or emit.correlationid or event_id,
        "partitionkey": emit.partitionkey or emit.subject,
        "hopcount": cause.hopcount + 1,
        "actor": emit.actor or actor or cause.actor or f"system:{service}",
    }
    optional = {"causationid": cause.id, "sequence": emit.sequence, "traceparent": cause.traceparent}
    attributes |= {name: value for name, value in optional.items() if value is not None}
    return {
        "id": event_id,
        "log_subject": log_subject(service, known, emit.subject),
        "body": compose(attributes, emit.data),
        "recorded_at": recorded_at,
    }


class Job(Protocol):
    """Something to be written: a unit of a door or worker, a batch of messages, a due deadline."""

    def run(self, session: Session, recorded: Recorded) -> object: ...

    def split(self) -> Sequence["Job"]:
        """The parts that can fail by themselves."""
        ...

    def failed(self, error: Exception, session: Session, recorded: Recorded) -> None:
        """Write down, outside the rolled-back part, that it failed; raise the error to hand it to the caller."""
        ...


@dataclass(slots=True)
class UnitJob(Generic[R]):
    unit: Unit[R]
    cause: Cause
    actor: str | None

    def run(self, session: Session, recorded: Recorded) -> R:
        steps: Generator[Outcome, None, R] = self.unit(session)
        while True:
            try:
                outcome = next(steps)
            except StopIteration as done:
                result: R = done.value
                return result
            recorded.add((outcome,), self.cause, self.actor)

    def split(self) -> Sequence[Job]:
        return (self,)

    def failed(self, error: Exception, session: Session, recorded: Recorded) -> None:
        raise error


LONGEST_BACKOFF_SECONDS = 300.0


def backoff(
    attempt: int, jitter: float, *, first_seconds: float = 1.0, most_seconds: float = LONGEST_BACKOFF_SECONDS
) -> float:
    """Seconds to wait after the given attempt, from 1: doubling, capped, and between half of it and all of it."""
    return min(most_seconds, first_seconds * 2.0 ** (attempt - 1)) * (0.5 + jitter / 2)
