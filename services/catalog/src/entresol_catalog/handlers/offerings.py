"""The stages of the versions of offerings."""

from collections.abc import Callable, Mapping

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.offerings import Stages
from entresol_catalog.handlers.board import Board, Fact


def stage(board: Board, fact: Fact) -> None:
    """It may be told of before the version itself is."""
    data: facts.OfferingStaged = fact.event.data
    stages = board.offerings.get(data.name) or Stages(data.name)
    if stages.stage(data.version, data.stage, fact.at, data.by, data.reason, fact.event.sequence):
        board.offerings.add((data.name,), stages, fact.position)


FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {facts.OfferingStaged: stage}
