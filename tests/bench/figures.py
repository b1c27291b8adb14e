"""What was measured, as it is kept in docs/bench.json: the page and its pictures are drawn from that file alone."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Self

from pydantic import BaseModel, Field


class Spread(BaseModel):
    """Repeated measurements of one thing."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        known = list(values)
        return cls(median=median(known), least=min(known), most=max(known))


class Section(BaseModel):
    """One run of the bench: when, how, and on what."""

    taken_at: datetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    command: str
    database: str
    machine: dict[str, str]


class Row(BaseModel):
    """One way of asking, and how it went."""

    what: str
    per_second: Spread | None = None
    p50_ms: Spread | None = None
    p99_ms: Spread | None = None


class Share(BaseModel):
    """What one process costs."""

    name: str
    most_ms: Spread
    """Processor milliseconds per request at the most requests per second."""
    most_core: Spread
    """Share of a core then."""
    half_ms: Spread
    """Processor milliseconds per request at half of that load."""
    half_core: Spread


class Requests(Section):
    """The main table and what bounds it."""

    repetitions: int
    cores: int
    rows: list[Row]
    floors: list[Row]
    shares: list[Share]
    load: Share
    idle_cores: Spread
    """Cores that had nothing to do at the most requests per second, the disk's time included."""
    elsewhere_cores: Spread
    resident_mib: dict[str, float]
    embedded: str = ""


class Policies(Section):
    """Decisions and replays, without the platform around them."""

    repetitions: int
    rows: list[Row]
    floors: list[Row]


class Lives(Section):
    """Runs by driver, and comparisons with the world, without the platform around them."""

    repetitions: int
    rows: list[Row]
    floors: list[Row]
    resident_mib: dict[str, float]


class Point(BaseModel):
    """Cost of a request when so many are stored."""

    stored: int
    ms: dict[str, float]
    """Processor milliseconds per request, by process."""
    per_second: float
    p50_ms: float
    """One at a time, on an idle platform."""
    p99_ms: float
    resident_mib: dict[str, float]
    database_mib: dict[str, float]
    """What each service's database takes on disk, and the `bus`."""
    start_seconds: float
    """Until the five services were ready, with all that stored."""


class Curve(Section):
    points: list[Point]


class Sample(BaseModel):
    """What the processes hold after so many requests."""

    requests: int
    seconds: float
    resident_mib: dict[str, float]
    files: dict[str, int]
    threads: dict[str, int]


class Soak(Section):
    requests: int
    per_second: float
    samples: list[Sample]


class Figures(BaseModel):
    """Everything that the page shows; a run replaces only what it has measured."""

    sqlite: Requests | None = None
    postgresql: Requests | None = None
    policies: Policies | None = None
    lives: Lives | None = None
    curve: Curve | None = None
    soak: Soak | None = None

    @classmethod
    def read(cls, file: Path) -> Self:
        return cls.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else cls()

    def write(self, file: Path) -> None:
        file.write_text(self.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
