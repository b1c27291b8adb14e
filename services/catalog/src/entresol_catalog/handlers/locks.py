"""Facts about locks and waivers."""

from collections.abc import Callable, Mapping

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.locks import NOBODY, Lock, Scope, Waiver, concerned
from entresol_catalog.handlers.board import Board, Fact


def place(board: Board, fact: Fact) -> None:
    data: facts.LockPlaced = fact.event.data
    if board.locks.get(data.lock_id) is not None:
        return
    scope, project = _scope(board, data.scope)
    lock = Lock(
        id=data.lock_id,
        scope=scope,
        project=project,
        reason=data.reason,
        by=data.by,
        exempt=data.exempt,
        placed_at=fact.at,
        until=data.until,
    )
    board.locks.add((lock.id,), lock, fact.position)


def lift(board: Board, fact: Fact) -> None:
    data: facts.LockLifted = fact.event.data
    lock = board.locks.get(data.lock_id)
    if lock is not None and lock.end("lifted", fact.at, data.by, data.reason):
        board.locks.keep(lock.id)


def let_lock_end(board: Board, fact: Fact) -> None:
    data: facts.LockExpired = fact.event.data
    lock = board.locks.get(data.lock_id)
    if lock is not None and lock.end("expired", fact.at, None, None):
        board.locks.keep(lock.id)


def grant(board: Board, fact: Fact) -> None:
    data: facts.WaiverGranted = fact.event.data
    if board.waivers.get(data.waiver_id) is not None:
        return
    scope, project = _scope(board, data.scope)
    waiver = Waiver(
        id=data.waiver_id,
        waives=data.waives,
        rule=data.rule,
        scope=scope,
        project=project,
        reason=data.reason,
        ticket=data.ticket,
        by=data.by,
        granted_at=fact.at,
        until=data.until,
    )
    board.waivers.add((waiver.id,), waiver, fact.position)


def revoke(board: Board, fact: Fact) -> None:
    data: facts.WaiverRevoked = fact.event.data
    waiver = board.waivers.get(data.waiver_id)
    if waiver is not None and waiver.end("revoked", fact.at, data.by, data.reason):
        board.waivers.keep(waiver.id)


def let_waiver_end(board: Board, fact: Fact) -> None:
    data: facts.WaiverExpired = fact.event.data
    waiver = board.waivers.get(data.waiver_id)
    if waiver is not None and waiver.end("expired", fact.at, None, None):
        board.waivers.keep(waiver.id)


FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {
    facts.LockPlaced: place,
    facts.LockLifted: lift,
    facts.LockExpired: let_lock_end,
    facts.WaiverGranted: grant,
    facts.WaiverRevoked: revoke,
    facts.WaiverExpired: let_waiver_end,
}


def project_of(payload: Payload, board: Board) -> str | None:
    """The project that a fact about a lock or waiver is about; None if it is about every one."""
    lock_id = getattr(payload, "lock_id", None)
    found = board.waivers.get(payload.waiver_id) if lock_id is None else board.locks.get(lock_id)  # type: ignore[attr-defined]
    return NOBODY if found is None else found.project


def _scope(board: Board, given: facts.Scope) -> tuple[Scope, str | None]:
    scope = Scope(given.project, given.environment, given.offering, given.resource, given.action, given.request)
    request = None if scope.request is None else board.requests.get(scope.request)
    return scope, concerned(scope, None if request is None else request.project)
