"""`make faults`: break things under load, and say for each guarantee what was tried and what was lost."""

import argparse
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from entresol_eventing.testing.postgres import PostgresServer, binaries

from tests.faults.proofs import PROOFS
from tests.faults.trials import POSTGRESQL, SQLITE, Evidence, Proof, Scale, Trial

PROOF_SECONDS = (150, 400, 7200)
"""Longest time of one proof by scale: a proof that hangs is a breach, too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One proof's run on one database."""

    proof: Proof
    database: str
    seed: int
    evidence: Evidence
    seconds: float
    skipped: str | None = None

    def line(self) -> str:
        if self.skipped:
            return f"{self.proof.guarantee:<5} not run  {self.proof.promise}: {self.skipped}"
        done = ", ".join(f"{number:,} {what}" for what, number in self.evidence.counts.items())
        seen = "".join(f", {what} {value}" for what, value in self.evidence.figures.items())
        verdict = "BROKEN" if self.evidence.breaches else "ok"
        return f"{self.proof.guarantee:<5} {verdict:<7} {self.database:<10} {done}{seen} ({self.seconds:.0f} s)"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--scale", choices=[one.name.lower() for one in Scale], default="run", help="how much to try")
    parser.add_argument("--only", nargs="+", metavar="G1", help="these guarantees alone")
    parser.add_argument("--database", choices=[SQLITE, POSTGRESQL], help="on this kind of database alone")
    parser.add_argument("--seed", type=int, help="repeat a run: the seed that it printed")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep databases, logs and ledgers of what broke here")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}, scale {arguments.scale}", flush=True)
    outcomes: list[Outcome] = []
    scale = Scale[arguments.scale.upper()]
    for proof, database in _chosen(arguments.only, arguments.database, scale):
        outcomes.append(_run(proof, database, scale, seed, arguments.keep))
        print(outcomes[-1].line(), flush=True)
    broken = [one for one in outcomes if one.evidence.breaches]
    print(f"\nseed {seed}, scale {arguments.scale}, {sum(one.seconds for one in outcomes):.0f} s")
    for one in outcomes:
        print(one.line())
    for one in broken:
        print(f"\n{one.proof.guarantee} on {one.database} (--only {one.proof.guarantee} --seed {seed}):")
        print("\n".join(f"  {breach}" for breach in one.evidence.breaches[:20]))
    return 1 if broken else 0


def _chosen(only: Sequence[str] | None, database: str | None, scale: Scale) -> Iterator[tuple[Proof, str]]:
    known = {proof.guarantee for proof in PROOFS}
    if unknown := set(only or ()) - known:
        sys.exit(f"no proof of {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    for proof in PROOFS:
        if (only and proof.guarantee not in only) or (not only and scale < proof.shortest):
            continue
        for kind in proof.databases:
            if database in (None, kind):
                yield proof, kind


def _run(proof: Proof, database: str, scale: Scale, seed: int, keep: Path | None) -> Outcome:
    missing = proof.missing()
    if database == POSTGRESQL and binaries() is None:
        missing = "PostgreSQL is not installed"
    if missing:
        return Outcome(proof, database, seed, Evidence(), 0.0, missing)
    print(f"      {proof.guarantee} on {database}: {proof.promise}", flush=True)
    began = time.monotonic()
    with ExitStack() as stack:
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="entresol-faults-", ignore_cleanup_errors=True)
        )
        postgres = stack.enter_context(PostgresServer()) if database == POSTGRESQL else None

        def say(text: str) -> None:
            print(f"      {proof.guarantee} {time.monotonic() - began:4.0f} s  {text}", flush=True)

        trial = Trial(scale, database, seed, Path(scratch), postgres, say)
        try:
            with _alarm(PROOF_SECONDS[scale]):
                evidence = proof.prove(trial)
        except Exception as error:
            place = traceback.format_exc().strip().splitlines()
            evidence = Evidence(breaches=[f"{type(error).__name__}: {error}", *place[-12:]])
        if evidence.breaches and keep is not None:
            Path(scratch).rename(keep / f"{proof.guarantee}-{database}-{seed}")
            Path(scratch).mkdir()
    return Outcome(proof, database, seed, evidence, time.monotonic() - began)


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"the proof did not end within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    sys.exit(main())
