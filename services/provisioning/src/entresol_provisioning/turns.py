"""Whose turn it is: which of the steps that are ready are taken next.

- Each driver has slots of its own: one whose steps take long keeps no step of another driver waiting.
- A run of which no step is acted on comes first, then the oldest.
- One run has at most three quarters of a driver's slots, so that a step of another run finds one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import Connection, case, or_, select
from sqlmodel import Session

from entresol_provisioning.tables import step as steps

Key: TypeAlias = tuple[str, str]
"""Run and step."""
_COLUMNS: Final = ("run_id", "name", "attempt", "position", "driver", "needs", "approved", "act", "memory")


class Ready(NamedTuple):
    """A step that is ready, in the order of the columns that are read."""

    run_id: str
    name: str
    attempt: int
    position: int
    driver: str
    needs: list[str]
    held: str | None
    act: str
    memory: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Slots:
    """How many steps of a driver may run at the same time."""

    most: int
    fewer: Mapping[str, int] = field(default_factory=dict)
    """By driver, where it can't do as many."""

    def of(self, driver: str) -> int:
        return min(self.most, self.fewer.get(driver, self.most))

    def of_one_run(self, driver: str) -> int:
        return self.of(driver) - self.of(driver) // 4


def suspects(session: Session) -> set[Key]:
    """Steps that may have been attempted before this process began."""
    query = select(steps.c.run_id, steps.c.name).where(steps.c.state == "ready")
    return {(row.run_id, row.name) for row in session.connection().execute(query)}


class _Books:
    """Who has which slots."""

    def __init__(self, slots: Slots, acting: Mapping[Key, str]) -> None:
        self.slots = slots
        self.acting = dict(acting)
        self.found: list[Ready] = []
        self.busy = Counter(acting.values())
        self.held = Counter((run_id, driver) for (run_id, _), driver in acting.items())

    @property
    def runs(self) -> set[str]:
        return {run_id for run_id, _ in self.acting}

    @property
    def full(self) -> list[str]:
        return [driver for driver, count in self.busy.items() if count >= self.slots.of(driver)]

    @property
    def sated(self) -> list[tuple[str, str]]:
        return [mine for mine, count in self.held.items() if count >= self.slots.of_one_run(mine[1])]

    def take(self, one: Ready) -> bool:
        mine = (one.run_id, one.driver)
        if (one.run_id, one.name) in self.acting or self.busy[one.driver] >= self.slots.of(one.driver):
            return False
        if self.held[mine] >= self.slots.of_one_run(one.driver):
            return False
        self.busy[one.driver] += 1
        self.held[mine] += 1
        self.acting[one.run_id, one.name] = one.driver
        self.found.append(one)
        return True


def taken(connection: Connection, slots: Slots, acting: Mapping[Key, str]) -> list[Ready]:
    """The steps to act on now. `acting`: those that are acted on already, with their drivers."""
    books = _Books(slots, acting)
    while True:
        most, runs = slots.most + len(books.acting), books.runs
        listed = _listed(connection, books, most)
        first = {one.run_id: one for one in reversed(listed) if one.run_id not in runs}
        took = [books.take(first[run_id]) for run_id in sorted(first)]
        if not any(took) or len(listed) < most:
            took += [books.take(one) for one in listed]
        if not any(took) or len(listed) < most:
            return books.found


def _listed(connection: Connection, books: _Books, most: int) -> list[Ready]:
    """Steps that may be taken, and are perhaps acted on: first of runs that have none, then of the oldest."""
    query = select(*(steps.c[name] for name in _COLUMNS)).where(steps.c.state == "ready")
    if full := books.full:
        query = query.where(steps.c.driver.not_in(full))
    for run_id, driver in books.sated:
        query = query.where(or_(steps.c.run_id != run_id, steps.c.driver != driver))
    begun = case((steps.c.run_id.in_(books.runs), 1), else_=0)
    query = query.order_by(begun, steps.c.run_id, steps.c.position).limit(most)
    return [Ready(*row) for row in connection.execute(query)]
