"""What every part of the door needs: reading bodies, checking callers, and turning faults into problem details."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from entresol_eventing.access import Principal
from entresol_eventing.http import Guard, Problem, Violation, strict_json
from entresol_eventing.reactions import Emit, Unit
from entresol_eventing.service import Service
from fastapi import Request
from fastapi.responses import JSONResponse
from sqlmodel import Session

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.domain.faults import Fault, Invalid
from entresol_intake.domain.shapes import Fields
from entresol_intake.domain.throttle import Throttle
from entresol_intake.facts import refused
from entresol_intake.settings import Settings
from entresol_intake.shelf import Shelf
from entresol_intake.tokens import Registry

R = TypeVar("R")

MAX_ID: Final = 128


@dataclass(slots=True)
class Desk:
    service: Service
    settings: Settings
    shelf: Shelf
    registry: Registry
    guard: Guard = field(init=False)
    _told: Throttle = field(default_factory=lambda: Throttle(per_second=1, burst=100))

    def __post_init__(self) -> None:
        self.guard = Guard(self._find)

    async def _find(self, token_hash: str) -> Principal | None:
        return await self.registry.find(token_hash, self.service.read)

    async def transact(self, unit: Unit[R], actor: str) -> R:
        """Run a unit, unless so much waits for the bus that nothing more may be promised."""
        if self.service.overloaded:
            raise Problem(
                503, "Try again soon", "Too much waits to be published; the bus is away.", headers={"Retry-After": "10"}
            )
        return await self.service.transact(unit, actor=actor)

    async def say(self, emit: Emit, actor: str) -> None:
        """Record one event, where nothing of intake's own changes with it."""

        def unit(_session: Session) -> Generator[Emit, None, None]:
            yield emit

        await self.transact(unit, actor)

    async def tell_refused(self, door: str, source: str, reason: str, body: bytes) -> None:
        """Record that something was refused; a flood of it is told only in part, so that it can't fill the log."""
        if not self._told.admits():
            return
        await self.say(refused(door, source, reason, body), f"system:{self.service.name}")


async def read_json(request: Request, *, most: int | None = None) -> Any:
    """The body, strictly parsed; an empty one is an empty object. Raise a Problem."""
    raw = await request.body()
    if not raw:
        return {}
    if most is not None and len(raw) > most:
        raise Problem(413, "The body is too large", f"At most {most} bytes are accepted.")
    expect_json(request)
    return strict_json(raw)


def expect_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Problem(415, "The body must be JSON", "Send Content-Type: application/json.")


def read_reason(document: object, *, required: bool = False) -> str | None:
    """The reason in a body that may hold nothing else; raise a Problem."""
    try:
        fields = Fields(document, ("reason",))
        reason = fields.text("reason", most=MAX_REASON, required=required)
        fields.done()
    except Invalid as invalid:
        raise unprocessable(invalid) from None
    return reason


def violations(faults: Iterable[Fault]) -> list[Violation]:
    return [Violation(pointer=fault.pointer, detail=fault.detail) for fault in faults]


def unprocessable(invalid: Invalid, title: str = "The request is not valid") -> Problem:
    return Problem(422, title, violations=violations(invalid.faults))


def not_found(what: str) -> Problem:
    """The same answer for what does not exist and for what this caller must not know of."""
    return Problem(404, "Not found", f"There is no such {what}.")


def plain_id(identifier: str, what: str) -> str:
    """The identifier if it can be one at all; else the Problem that there is none."""
    if not identifier.isprintable() or not 0 < len(identifier) <= MAX_ID:
        raise not_found(what)
    return identifier


def stored(emit: Emit) -> JSONResponse:
    """What is about to be ruled on, with the id of the event in which it was said: the ruling is found by that."""
    return JSONResponse({"id": emit.subject, "by": emit.actor, "event": emit.id}, 202)
