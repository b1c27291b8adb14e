"""`make faults`: break things under load, and say for each guarantee what was tried and what was lost."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from entresol_eventing.testing.postgres import PostgresServer, binaries

from tests.faults.outcomes import Journal, Outcome, page
from tests.faults.proofs import PROOFS
from tests.faults.trials import POSTGRESQL, SQLITE, Evidence, Proof, Scale, Trial

PROOF_SECONDS = (300, 900, 6 * 3600)
"""Longest time of one proof by scale: a proof that hangs is a breach, too."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--scale", choices=[one.name.lower() for one in Scale], default="run", help="how much to try")
    parser.add_argument("--only", nargs="+", metavar="G1", help="these guarantees alone")
    parser.add_argument("--database", choices=[SQLITE, POSTGRESQL], help="on this kind of database alone")
    parser.add_argument("--seed", type=int, help="repeat a run: the seed that it printed")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep databases, logs and ledgers of what broke here")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep outcomes here, and skip what it has already")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write what came of it all as a page of docs")
    arguments = parser.parse_args()
    scale = Scale[arguments.scale.upper()]
    journal = Journal(arguments.resume)
    outcomes = list(journal.read(PROOFS, scale))
    known = {(one.proof.guarantee, one.database) for one in outcomes}
    seed = arguments.seed
    if seed is None:
        seed = outcomes[0].seed if outcomes else random.randrange(2**32)
    print(f"seed {seed}, scale {arguments.scale}", flush=True)
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    for proof, database in _chosen(arguments.only, arguments.database, scale):
        if (proof.guarantee, database) in known:
            continue
        outcomes.append(_run(proof, database, scale, seed, arguments.keep))
        journal.add(outcomes[-1])
        print(outcomes[-1].line(), flush=True)
    if arguments.write is not None:
        arguments.write.write_text(page(outcomes, PROOFS, scale), encoding="utf-8")
    broken = [one for one in outcomes if one.evidence.breaches]
    print(f"\nseed {seed}, scale {arguments.scale}, {sum(one.seconds for one in outcomes):.0f} s")
    for one in outcomes:
        print(one.line())
    for one in broken:
        print(f"\n{one.proof.guarantee} on {one.database} (--only {one.proof.guarantee} --seed {seed}):")
        print("\n".join(f"  {breach}" for breach in one.evidence.breaches[:20]))
    return 1 if broken else 0


def _chosen(only: Sequence[str] | None, database: str | None, scale: Scale) -> Iterator[tuple[Proof, str]]:
    """The proofs to run, each on the first kind of database it is for; in the long run, or if named, on every kind."""
    known = {proof.guarantee for proof in PROOFS}
    if unknown := set(only or ()) - known:
        sys.exit(f"no proof of {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    for proof in PROOFS:
        if (only and proof.guarantee not in only) or (not only and scale < proof.shortest):
            continue
        first_alone = scale < Scale.LONG and database is None and not only
        for kind in proof.databases[:1] if first_alone else proof.databases:
            if database in (None, kind):
                yield proof, kind


def _run(proof: Proof, database: str, scale: Scale, seed: int, keep: Path | None) -> Outcome:
    missing = proof.missing()
    if database == POSTGRESQL and binaries() is None:
        missing = "PostgreSQL is not installed"
    if missing:
        return Outcome(proof, database, scale, seed, Evidence(), 0.0, missing)
    print(f"      {proof.guarantee} on {database}: {proof.promise}", flush=True)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"      {proof.guarantee} {time.monotonic() - began:4.0f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="entresol-faults-", ignore_cleanup_errors=True) as scratch:
        try:
            with _alarm(PROOF_SECONDS[scale]), ExitStack() as stack:
                postgres = stack.enter_context(PostgresServer()) if database == POSTGRESQL else None
                evidence = proof.prove(Trial(scale, database, seed, Path(scratch), postgres, say))
        except Exception as error:
            place = traceback.format_exc().strip().splitlines()
            evidence = Evidence(breaches=[f"{type(error).__name__}: {error}", *place[-12:]])
        if evidence.breaches and keep is not None:
            shutil.move(scratch, keep / f"{proof.guarantee}-{database}-{seed}")
            Path(scratch).mkdir()
    return Outcome(proof, database, scale, seed, evidence, time.monotonic() - began)


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
