"""What the catalog has said of scorecards, once it comes back by the log."""

from collections.abc import Callable, Mapping

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.scorecards import RuleResult, Standing
from entresol_catalog.handlers.board import Board, Fact


def show(board: Board, fact: Fact) -> None:
    data: facts.ScorecardChanged = fact.event.data
    key = (data.scorecard, data.blueprint, data.identifier)
    standing = Standing(
        scorecard=data.scorecard,
        blueprint=data.blueprint,
        identifier=data.identifier,
        level=data.level,
        rank=data.rank,
        changed_at=fact.at,
        rules=[RuleResult(one.name, one.level, one.passed, one.because) for one in data.rules],
    )
    board.standings.add(key, standing, fact.position)
    board.heard[key] = fact


FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {facts.ScorecardChanged: show}
