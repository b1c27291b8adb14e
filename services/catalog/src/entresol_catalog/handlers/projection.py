"""Fold a batch of events into the picture. The only writer of the catalog's tables.

History takes every event in the order of the log, the catalog's own too: they come back by the log like everybody's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from entresol_contracts import Payload
from entresol_contracts import events as facts
from entresol_eventing.envelope import Event, encode
from entresol_eventing.reactions import BatchHandler, Outcome
from entresol_eventing.statements import Statement
from sqlalchemy import func, insert, select
from sqlmodel import Session

from entresol_catalog.handlers import drivers, entities, listings, locks, offerings, requests, resources, scorecards
from entresol_catalog.handlers.board import Board, Fact
from entresol_catalog.handlers.judging import Judge
from entresol_catalog.store import tables

_FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {
    facts.RequestSubmitted: requests.submit,
    **drivers.FOLDS,
    **entities.FOLDS,
    **listings.FOLDS,
    **locks.FOLDS,
    **offerings.FOLDS,
    **resources.FOLDS,
    **scorecards.FOLDS,
}


_HISTORY = Statement(insert(tables.history))


def projection(patience_seconds: Mapping[str, float], judge: Judge | None = None) -> BatchHandler:
    """The batch handler, knowing how long a request may stay in each state before somebody should look.

    Without a judge it says nothing of scorecards; what it writes is the same.
    """

    def project(events: Sequence[Event[Any]], session: Session) -> Iterator[Outcome]:
        last = session.execute(select(func.max(tables.history.c.position))).scalar() or 0
        board = Board(patience_seconds)
        board.load(events, session)
        for position, event in enumerate(events, last + 1):
            fact, kind = Fact(event, position), type(event.data)
            if (follow := requests.FOLDS.get(kind)) is not None:
                requests.follow(board, fact, follow)
            elif (fold := _FOLDS.get(kind)) is not None:
                fold(board, fact)
        rows = [_row(event, position, board) for position, event in enumerate(events, last + 1)]
        _HISTORY.many(session.connection(), rows)
        board.write(session)
        yield from board.said
        if judge is not None:
            yield from judge.look(board, session)

    return project


def _row(event: Event[Any], position: int, board: Board) -> dict[str, Any]:
    project = getattr(event.data, "project", None)
    if project is None and event.type in _OF_A_CHAIN and (request := board.requests.get(event.correlationid)):
        project = request.project
    elif project is None and type(event.data) in locks.FOLDS:
        project = locks.project_of(event.data, board)
    return {
        "position": position,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "correlationid": event.correlationid,
        "request_id": requests.named(event.data),
        "project": project,
        "time": event.time,
        "body": encode(event).decode(),
    }


_OF_A_CHAIN = frozenset({"dev.entresol.notification.delivered.v1", "dev.entresol.notification.failed.v1"})
"""Say nothing of a project themselves, but belong to the one of the request they tell about."""
