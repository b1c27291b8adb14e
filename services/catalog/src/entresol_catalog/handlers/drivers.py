"""What drivers announce."""

from collections.abc import Callable, Mapping

from entresol_contracts import Payload
from entresol_contracts import events as facts

from entresol_catalog.domain.drivers import Driver
from entresol_catalog.handlers.board import Board, Fact


def announce(board: Board, fact: Fact) -> None:
    data: facts.DriverAnnounced = fact.event.data
    driver = Driver(data.driver, data.available, data.summary, data.settings, data.outputs, fact.at)
    board.drivers.add((data.driver,), driver, fact.position)


def withdraw(board: Board, fact: Fact) -> None:
    data: facts.DriverWithdrawn = fact.event.data
    if (driver := board.drivers.get(data.driver)) is not None:
        driver.withdrawn = True
        board.drivers.keep(data.driver)


FOLDS: Mapping[type[Payload], Callable[[Board, Fact], None]] = {
    facts.DriverAnnounced: announce,
    facts.DriverWithdrawn: withdraw,
}
