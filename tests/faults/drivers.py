"""Every driver, broken off everywhere: a run of three steps with a crash at each place that it comes by.

Each driver has a process of provisioning of its own, and works on one resource after the other. What happened is asked
of the world, never of our databases: commits, terraform's state, the books of an API, of a program and of a cluster.
"""

import asyncio
import random
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

from tests.faults.crashes import points_of
from tests.faults.grounds import GROUNDS, Ground
from tests.faults.lives import COUNT, END_SECONDS, Lives, Places, lives
from tests.faults.trials import SQLITE, Evidence, Proof, Scale, Trial
from tests.forks import fork_server

POINTS = points_of("provisioning")
LIVES = 1
"""Of each driver, at the smallest scale."""
AT_A_TIME = 4
"""Drivers that are tried at the same time: they mostly wait."""
DRAWN = 2
"""How many visits to a place of the runtime, which every driver comes by alike, are tried unless all of them are."""
FURTHEST = 60
"""No later visit to a place is tried."""
TRIES = 3
"""Runs that may not come by a place again, before it is not looked for any more."""
MOST_SECONDS = (200, 800, 20_000)
"""How long all is tried, by scale; what was not tried then is counted, and drawn by another seed."""
BUG_SECONDS = 20.0
"""How long a run with a bug is waited for."""


@dataclass
class Sample:
    """A few places, drawn; a run that does not come by the place is a run without a crash."""

    dice: random.Random
    lives: int
    _taken: int = 0

    @property
    def left(self) -> bool:
        return self._taken < self.lives

    def take(self, action: str) -> str:
        self._taken += action == "create"
        effects = [one for one in POINTS if one.startswith("effect.")]
        point = self.dice.choice(effects if self.dice.random() < 0.6 else POINTS)
        return f"{point}@{self.dice.randint(1, 3)}"

    def counted(self, action: str, visits: Counter[str]) -> None:
        pass

    def came(self, action: str, place: str, *, crashed: bool) -> None:
        pass


@dataclass
class Every:
    """Each visit to each place that an undisturbed run comes by: the first time of each, then the others.

    Places of the runtime, such as a commit, are tried at some visits unless `all_` is wanted.
    """

    actions: Sequence[str]
    dice: random.Random
    all_: bool
    to_try: dict[str, deque[str]] = field(default_factory=dict)
    """Places by action, once it is known where its runs come by."""
    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Crashes by action and point."""
    known: int = 0
    """Visits that there are to try."""
    given_up: int = 0
    """Those that no run came to again."""
    _missed: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def left(self) -> bool:
        return any(self.to_try.get(action, True) for action in self.actions)

    @property
    def untried(self) -> list[str]:
        """Points at which no run of an action has crashed, though runs of it come by."""
        points = ((action, place.partition("@")[0]) for action, places in self.to_try.items() for place in places)
        return sorted({f"{action} at {point}" for action, point in points if not self.tried[action, point]})

    def take(self, action: str) -> str:
        if action not in self.to_try:
            return COUNT
        return self.to_try[action].popleft() if self.to_try[action] else ""

    def counted(self, action: str, visits: Counter[str]) -> None:
        drawn: list[list[str]] = []
        for point, most in visits.items():
            every = list(range(1, min(most, FURTHEST) + 1))
            chosen = self.dice.sample(every, len(every) if self._is_whole(point) else min(DRAWN, len(every)))
            drawn.append([f"{point}@{visit}" for visit in chosen])
        first, others = [one[0] for one in drawn], [place for one in drawn for place in one[1:]]
        self.to_try[action] = deque([*self.dice.sample(first, len(first)), *self.dice.sample(others, len(others))])
        self.known += len(self.to_try[action])

    def came(self, action: str, place: str, *, crashed: bool) -> None:
        point, _, visit = place.partition("@")
        if crashed:
            self.tried[action, point] += 1
            return
        # Which batches events come in is a matter of chance, and so is how often a run comes by their commits.
        self._missed[action, point] += 1
        if self._missed[action, point] >= TRIES:
            self.given_up += 1
        elif self._is_whole(point):
            self.to_try[action].append(place)
        else:
            earlier = 1 if self._missed[action, point] > 1 else (int(visit) + 1) // 2
            self.to_try[action].appendleft(f"{point}@{earlier}")

    def _is_whole(self, point: str) -> bool:
        return self.all_ or point.startswith("effect.")


@dataclass
class Fixed:
    """The same place in every run of one life."""

    place: str
    left: bool = True

    def take(self, action: str) -> str:
        self.left = False
        return self.place

    def counted(self, action: str, visits: Counter[str]) -> None:
        pass

    def came(self, action: str, place: str, *, crashed: bool) -> None:
        pass


def prove_every_driver(trial: Trial) -> Evidence:
    """Break off runs of every driver, of a suspended and of a compensated one, and of one that needs another."""

    def places(name: str, kind: type[Ground]) -> Sample | Every:
        dice = random.Random(f"{trial.seed} {name}")
        if trial.scale == Scale.SHORT:
            return Sample(dice, LIVES)
        return Every(kind.actions, dice, all_=trial.scale == Scale.LONG)

    fork_server()
    evidence = Evidence({"drivers": 0, "runs": 0, "crashes": 0, "effects": 0})
    missing = [] if shutil.which("terraform") or shutil.which("tofu") else ["terraform"]
    chosen = {name: kind for name, kind in GROUNDS.items() if name not in missing}
    if missing:
        evidence.figures["not tried, for there is no program of that name"] = ", ".join(missing)
    ways = {name: places(name, kind) for name, kind in chosen.items()}
    asyncio.run(_tour(trial, evidence, chosen, ways))
    every = {name: way for name, way in ways.items() if isinstance(way, Every)}
    if every:
        known, tried = sum(way.known for way in every.values()), sum(way.tried.total() for way in every.values())
        given_up = sum(way.given_up for way in every.values())
        evidence.counts |= {"visits": known, "tried": tried, "not come to again": given_up}
        if not evidence.breaches:
            untried = [f"{name}: {one}" for name, way in every.items() for one in way.untried]
            uncounted = [f"{name}: no run of it was counted" for name, way in every.items() if not way.to_try]
            evidence.breaches += [f"no crash was tried in the time: {one}" for one in (*uncounted, *untried)]
    return evidence


async def _tour(
    trial: Trial, evidence: Evidence, chosen: Mapping[str, type[Ground]], ways: Mapping[str, Places]
) -> None:
    turns = asyncio.Semaphore(AT_A_TIME)
    by_place: Counter[str] = Counter()

    async def go(name: str, kind: type[Ground]) -> None:
        say = partial(_say, trial, name)
        done = await tour(
            kind(trial.scratch / name), ways[name], seconds=MOST_SECONDS[trial.scale], say=say, turns=turns
        )
        evidence.counts["drivers"] += 1
        evidence.counts["runs"] += len(done.runs)
        evidence.counts["crashes"] += done.crashes.total()
        evidence.counts["effects"] += done.ground.effects().total()
        evidence.breaches += [f"{name}: {one}" for one in done.found]
        by_place.update(done.crashes)

    async with asyncio.TaskGroup() as group:
        for name, kind in chosen.items():
            group.create_task(go(name, kind))
    evidence.counts |= {f"at {point}": by_place[point] for point in POINTS if by_place[point]}


def _say(trial: Trial, name: str, text: str) -> None:
    trial.say(f"{name}: {text}")


async def tour(
    ground: Ground,
    places: Places,
    planted: str = "",
    patience_seconds: float = END_SECONDS,
    seconds: float = float("inf"),
    say: Callable[[str], None] = lambda _: None,
    turns: asyncio.Semaphore | None = None,
) -> Lives:
    """Lives of resources until no place is left, or the time is over; what is found ends it. A life needs a turn."""
    began = time.monotonic()
    async with lives(ground, planted, patience_seconds) as made:
        number = 0
        while places.left and not made.found and time.monotonic() - began < seconds:
            async with turns or nullcontext():
                await made.live(f"thing-{number}", places)
                await asyncio.to_thread(made.worker.kill)
            number += 1
            if number % 10 == 0:
                say(f"{number} lives, {made.crashes.total()} crashes")
        made.found += await asyncio.to_thread(lambda: list(made.judge_whole()))
        say(f"{number} lives, {made.crashes.total()} crashes: {made.found or 'nothing found'}")
        return made


def play(trial: Trial, scenario: str, planted: str) -> list[str]:
    """What is found when runs of one driver crash at one place, by a provisioning that may have a bug."""
    ground, place = SCENARIOS[scenario]
    patience_seconds = BUG_SECONDS if planted else END_SECONDS
    done = asyncio.run(tour(GROUNDS[ground](trial.scratch / ground), Fixed(place), planted, patience_seconds))
    missed = [] if done.crashes or planted else [f"no run came to {place}"]
    return [*map(str, done.found), *missed]


SCENARIOS: Mapping[str, tuple[str, str]] = {
    "crashes-after-calls": ("http", "effect.after@1"),
    "crashes-after-programs": ("exec", "effect.after@1"),
}
"""A ground and where its runs crash, for planted bugs."""

PROOFS = (
    Proof(
        "G2d",
        "with every driver an effect happens once and a run ends, wherever provisioning crashes",
        prove_every_driver,
        databases=(SQLITE,),
    ),
)
