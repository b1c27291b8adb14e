"""What came of each proof: printed, kept line by line so that a long run can be resumed, and written as a page."""

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from entresol_eventing.nats_server import executable
from entresol_eventing.testing.postgres import binaries

from tests.faults.trials import POSTGRESQL, SQLITE, Evidence, Proof, Scale

INTRODUCTION = """\
# Faults: what was tried, and what was lost

What Entresol promises is tried by breaking its surroundings under load: services and the bus are killed, frozen and
ended, connections cut, messages shuffled, disks filled. Where the whole platform is under load, a judge that is no
part of it compares what clients were told with the log, the databases, the commits in a git repository and what a
receiver of notices wrote down. This page is written by the run.

Run on {day} at scale `{scale}`, seed {seeds}: {versions}.

None found in N trials says only that the probability is likely below 3/N.
"""

REPETITION = """
## Repeat it

    make faults-long    # hours; writes this page
    make faults         # some ten minutes, fewer trials, each on one kind of database
    .venv/bin/python -m tests.faults --scale {scale} --only G1 --seed {seed}

The seed decides which faults strike in which order; the machine decides what they meet, so two runs with one seed are
alike and not the same. `--keep DIR` keeps databases, logs and ledgers of what broke, and
`.venv/bin/python -m tests.faults.judge DIR/…/ledgers` judges them again.

## Not run
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One proof's run on one database."""

    proof: Proof
    database: str
    scale: Scale
    seed: int
    evidence: Evidence
    seconds: float
    skipped: str | None = None

    @property
    def tried(self) -> str:
        """What was done and seen, in words."""
        done = ", ".join(f"{number:,} {what}" for what, number in self.evidence.counts.items())
        return done + "".join(f", {what} {value}" for what, value in self.evidence.figures.items())

    def line(self) -> str:
        if self.skipped:
            return f"{self.proof.guarantee:<5} not run  {self.proof.promise}: {self.skipped}"
        verdict = "BROKEN" if self.evidence.breaches else "ok"
        return f"{self.proof.guarantee:<5} {verdict:<7} {self.database:<10} {self.tried} ({self.seconds:.0f} s)"


class Journal:
    """Outcomes in a file of JSON lines; None keeps nothing."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def read(self, proofs: Sequence[Proof], scale: Scale) -> Iterator[Outcome]:
        """What was run already at this scale, of proofs that still exist."""
        by_name = {proof.guarantee: proof for proof in proofs}
        for line in self._lines():
            proof = by_name.get(line["guarantee"])
            if proof is not None and line["scale"] == scale.name:
                evidence = Evidence(**line["evidence"])
                yield Outcome(proof, line["database"], scale, line["seed"], evidence, line["seconds"])

    def add(self, outcome: Outcome) -> None:
        """Keep the outcome, unless there was none."""
        if self._file is None or outcome.skipped:
            return
        line = {
            "guarantee": outcome.proof.guarantee,
            "database": outcome.database,
            "scale": outcome.scale.name,
            "seed": outcome.seed,
            "seconds": round(outcome.seconds, 1),
            "evidence": asdict(outcome.evidence),
        }
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")

    def _lines(self) -> Iterator[Mapping[str, Any]]:
        if self._file is not None and self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)


def page(outcomes: Sequence[Outcome], proofs: Sequence[Proof], scale: Scale) -> str:
    """The page of docs that tells users what was tried and what was found."""
    run = [one for one in outcomes if not one.skipped]
    seeds = ", ".join(str(seed) for seed in sorted({one.seed for one in run}))
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [
        INTRODUCTION.format(day=day, scale=scale.name.lower(), seeds=seeds, versions=_versions()),
        "| guarantee | promise | database | tried and found | held | seconds |",
        "|---|---|---|---|---|---:|",
    ]
    for one in run:
        held = "**no**" if one.evidence.breaches else "yes"
        cells = (one.proof.guarantee, one.proof.promise, one.database, one.tried, held, f"{one.seconds:,.0f}")
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    lines.append(REPETITION.format(scale=scale.name.lower(), seed=run[0].seed if run else 1))
    lines += [f"- {one.proof.guarantee}, {one.proof.promise}: {one.skipped}" for one in outcomes if one.skipped]
    known = {(one.proof.guarantee, one.database) for one in outcomes}
    for database in (SQLITE, POSTGRESQL):
        left = [one.guarantee for one in proofs if database in one.databases]
        if left := [guarantee for guarantee in left if (guarantee, database) not in known]:
            lines.append(f"- on {database} at this scale: {', '.join(left)}")
    if scale is not Scale.LONG:
        lines.append("- the long counts: `make faults-long`")
    return "\n".join(lines) + "\n"


def _versions() -> str:
    server = _said(executable(), "--version").split()[-1].removeprefix("v")
    parts = [
        f"{os.cpu_count()} cores",
        f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory",
        f"{platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}",
        f"nats-server {server}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
    if (where := binaries()) is not None:
        parts.append(f"PostgreSQL {_said(str(where / 'postgres'), '--version').split()[2]}")
    return ", ".join(parts)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
