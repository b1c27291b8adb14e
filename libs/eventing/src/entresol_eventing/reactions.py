"""What a service does when events arrive: handlers, and what they answer with.

A handler is a function (event, session) → outcomes. It runs inside one database transaction and touches nothing
but its session: no network, no clock, no disk. "Now" is the time of the event it answers.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from entresol_contracts import Payload
from sqlmodel import Session

from entresol_eventing.envelope import Cause, Event

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Emit:
    """Publish an event: recorded in the outbox with the transaction, published after its commit."""

    data: Payload
    subject: str
    """Full id of the aggregate: request id, resource id, entity ref."""
    partitionkey: str | None = None
    """What must stay in order together; the subject if absent."""
    sequence: int | None = None
    """Version of the aggregate, where the service owns the aggregate."""
    actor: str | None = None
    """Who is behind it, if not who was behind the cause."""
    cause: Cause | None = None
    """What it answers, if not the event being handled."""
    correlationid: str | None = None
    """Id of the chain, if it starts here; the event's own id if absent."""
    id: str | None = None
    """Of the event; made up if absent. What the sender gave, for outside events, together with `source`."""
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Deadline:
    """Remember to look again at `due_at`. A deadline of the same key is replaced."""

    key: str
    kind: str
    """Which of the service's `when_due` handlers looks."""
    due_at: datetime
    args: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for the handler."""
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Forget the deadline of that key; nothing happens if there is none."""

    key: str


@dataclass(frozen=True, slots=True)
class Due:
    """A deadline that has come: the handler checks its state and says what follows."""

    key: str
    kind: str
    due_at: datetime
    args: Mapping[str, Any]
    cause: Cause


Outcome: TypeAlias = Emit | Deadline | Cancel


def caused_by(cause: Cause, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """The outcomes as answers to a remembered cause, which need not be the event that is being handled."""
    for outcome in outcomes:
        if isinstance(outcome, Cancel) or outcome.cause is not None:
            yield outcome
        else:
            yield replace(outcome, cause=cause)


Handler: TypeAlias = Callable[[Event[Any], Session], Iterable[Outcome]]
BatchHandler: TypeAlias = Callable[[Sequence[Event[Any]], Session], Iterable[Outcome]]
DueHandler: TypeAlias = Callable[[Due, Session], Iterable[Outcome]]
Unit: TypeAlias = Callable[[Session], Generator[Outcome, None, R]]
"""A piece of work for one transaction: yields outcomes, returns a result. An exception rolls all of it back."""


@dataclass(frozen=True, slots=True)
class Reactions:
    """The table of contents of a service: what it does with which event."""

    to: Mapping[type[Payload], Handler] = field(default_factory=dict)
    """Handlers by payload; events of other types that arrive are acknowledged unread."""
    to_batch: BatchHandler | None = None
    """Instead of `to`: one handler for every event, many at a time. Its `Emit`s must name their `cause`."""
    when_due: Mapping[str, DueHandler] = field(default_factory=dict)
    """Handlers of deadlines by kind."""
    longest_waits: Mapping[str, float] = field(default_factory=dict)
    """Kinds of deadlines that are waits and not dates, with the longest in seconds: what is further away than that
    is due at once, because the clock was set back."""
    forget: Callable[[], None] = lambda: None
    """Drops what was cached from the database; called after every rollback."""
