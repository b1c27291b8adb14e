"""What a proof is: a promise, a way to break it under load, and the counts of what happened."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from entresol_eventing.testing.postgres import PostgresServer

SQLITE = "sqlite"
POSTGRESQL = "postgresql"


class Scale(IntEnum):
    """How much is tried: by every change, by hand before one, and in hours."""

    SHORT = 0
    RUN = 1
    LONG = 2


@dataclass(slots=True)
class Trial:
    """One proof, once, on one kind of database: where it works and what it draws its faults from."""

    scale: Scale
    database: str
    seed: int
    scratch: Path
    """An empty directory, removed afterwards."""
    postgres: PostgresServer | None
    """A running server if `database` is PostgreSQL."""
    say: Callable[[str], None]
    """Shows progress."""
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def count(self, short: int, run: int, long: int) -> int:
        """How often, at this scale."""
        return (short, run, long)[self.scale]


@dataclass(slots=True)
class Evidence:
    """What was tried and what was found."""

    counts: dict[str, int] = field(default_factory=dict)
    """What was done and seen, in words: {"requests": 1000, "kills": 200, "lost": 0}."""
    breaches: list[str] = field(default_factory=list)
    """Each way in which the promise did not hold, with enough to find it."""
    figures: dict[str, str] = field(default_factory=dict)
    """What was measured on the way: {"slowest recovery": "1.2 s"}. Never judged."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Breaks one guarantee's surroundings and counts what became of the promise."""

    guarantee: str
    """`G1` … as in docs/faults.md; `G12b` for a second proof of the same guarantee."""
    promise: str
    prove: Callable[[Trial], Evidence]
    """Raises, or returns breaches, if the promise did not hold."""
    databases: Sequence[str] = (SQLITE, POSTGRESQL)
    shortest: Scale = Scale.SHORT
    """The smallest scale at which it is worth running."""
    missing: Callable[[], str | None] = lambda: None
    """Says why it can't be run on this machine, if it can't."""
