"""`python -m tests.faults.trust`: is the judge to be trusted? It has to catch every planted bug, and nothing else.

Each scenario is played without a bug first, and nothing may be found; then with each bug that is planted in it, and
something of the bug's own kind has to be found. Several are played at a time: they mostly wait.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults import drivers, scenarios, tallied
from tests.faults.planted import BUGS, Bug
from tests.faults.trials import SQLITE, Scale, Trial
from tests.forks import fork_server

AT_A_TIME = 3
TRIES = 3
"""How often a bug is looked for: faults strike by chance, and may all come at moments when it does no harm."""


@dataclass(frozen=True, slots=True)
class Played:
    """One scenario, played with a bug or without."""

    scenario: str
    bug: Bug | None
    found: Sequence[str]
    seconds: float
    error: str = ""
    tries: int = 1

    @property
    def is_as_it_should_be(self) -> bool:
        if self.error:
            return False
        return not self.found if self.bug is None else self.evidence is not None

    @property
    def evidence(self) -> str | None:
        """The first finding of the bug's kind."""
        assert self.bug is not None
        return next((one for one in self.found if one.startswith(f"{self.bug.kind}: ")), None)

    def line(self) -> str:
        if self.bug is None:
            word = "clean" if self.is_as_it_should_be else "NOT CLEAN"
            return f"{word:9} {'no bug':26} {'':12} {self.scenario:25} {self.seconds:4.1f} s"
        word = "caught" if self.is_as_it_should_be else "MISSED"
        names = f"{word:9} {self.bug.name:26} {self.bug.where:12} {self.scenario:25} {self.seconds:4.1f} s"
        later = f"at try {self.tries}: " if self.tries > 1 else ""
        return f"{names}  {later}{(self.evidence or '')[:110]}"

    def report(self) -> str:
        """What to know of one that is not as it should be, and how to see it again."""
        if self.bug is None:
            first = f"{self.scenario} is to have no findings (--only {self.scenario})"
        else:
            first = f"{self.bug.name} is to be {self.bug.kind} (--only {self.bug.name}): {self.bug.words}"
        return "\n  ".join([first, *self.error.splitlines()[-12:], *(self.found[:20] or ["nothing was found"])])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.trust", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these bugs or scenarios alone")
    parser.add_argument("--seed", type=int, help="repeat a run: the seed that it printed")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    played = run(chosen(arguments.only), seed)
    for one in played:
        if not one.is_as_it_should_be:
            print(f"\n{one.report()}")
    planted = [one for one in played if one.bug is not None]
    caught = sum(one.is_as_it_should_be for one in planted)
    dirty = sum(not one.is_as_it_should_be for one in played if one.bug is None)
    later = sum(one.tries > 1 for one in planted)
    control = f"{dirty} controls not clean" if dirty else "control clean"
    print(f"{len(planted)} planted, {caught} caught, {later} looked for again, {control}; seed {seed}, ", end="")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if dirty or caught < len(planted) else 0


def chosen(only: Sequence[str] | None = None) -> list[tuple[str, Bug | None]]:
    """What is to be played: the scenarios of some bugs without any, then each of the bugs."""
    known = {*scenarios.SCENARIOS, *drivers.SCENARIOS, *tallied.SCENARIOS}
    if unknown := set(only or ()) - known - set(BUGS):
        sys.exit(f"no bug or scenario {', '.join(sorted(unknown))}; there are {', '.join([*BUGS, *sorted(known)])}")
    bugs = [bug for bug in BUGS.values() if only is None or bug.name in only]
    controls = dict.fromkeys([*(bug.scenario for bug in bugs), *(one for one in only or () if one in known)])
    return [*((name, None) for name in controls), *((bug.scenario, bug) for bug in bugs)]


def run(plays: Sequence[tuple[str, Bug | None]], seed: int) -> list[Played]:
    fork_server()  # before there are threads that could each start one
    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="trial") as pool:
        running = [pool.submit(_play, scenario, bug, seed) for scenario, bug in plays]
        for one in as_completed(running):
            print(one.result().line(), flush=True)
        return [one.result() for one in running]


def _play(scenario: str, bug: Bug | None, seed: int) -> Played:
    """Without a bug once; with one until it is caught, at most TRIES times. A trial that broke down is not repeated."""
    played = _play_once(scenario, bug, seed)
    while bug is not None and not played.is_as_it_should_be and not played.error and played.tries < TRIES:
        played = replace(_play_once(scenario, bug, seed + played.tries), tries=played.tries + 1)
    return played


def _play_once(scenario: str, bug: Bug | None, seed: int) -> Played:
    began = time.monotonic()
    found: list[str] = []
    error = ""
    with tempfile.TemporaryDirectory(prefix="entresol-trust-", ignore_cleanup_errors=True) as scratch:
        trial = Trial(Scale.SHORT, SQLITE, seed, Path(scratch), None, lambda _: None)
        try:
            if scenario in tallied.SCENARIOS:
                found = tallied.play(trial, scenario, bug.name if bug else "")
            elif scenario in drivers.SCENARIOS:
                found = drivers.play(trial, scenario, bug.name if bug else "")
            else:
                found = scenarios.play(trial, scenarios.SCENARIOS[scenario], {bug.where: bug.name} if bug else {})
        except Exception:
            error = traceback.format_exc()
    return Played(scenario, bug, found, time.monotonic() - began, error)


if __name__ == "__main__":
    sys.exit(main())
