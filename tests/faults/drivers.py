"""Every driver, broken off everywhere: a run of three steps with a crash at each place that it comes by.

Each driver has a process of provisioning of its own, and works on one resource after the other. What happened is asked
of the world, never of our databases: commits, terraform's state, the books of an API, of a program and of a cluster.
"""

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.faults.crashes import points_of
from tests.faults.grounds import GROUNDS, Ground
from tests.faults.lives import END_SECONDS, Lives, Places, lives
from tests.faults.trials import SQLITE, Evidence, Proof, Scale, Trial
from tests.forks import fork_server

POINTS = points_of("provisioning")
LIVES = 1
"""Of each driver, at the smallest scale."""
AT_A_TIME = 3
"""Drivers that are tried at the same time: they mostly wait."""
FURTHEST = 60
"""A place that a run comes by more often than that is not followed further."""
DRAWN, APART = 2, 6
"""How many visits to a place of the runtime are tried unless all of them are, and how far apart at the most."""
MOST_SECONDS = (20, 90, 2400)
"""How long one driver is tried, by scale; what was not tried then is counted, and drawn by another seed."""
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

    def came(self, action: str, place: str, *, crashed: bool) -> None:
        pass


@dataclass
class Every:
    """One place after the other, each visit of each, until an undisturbed run does not come by any more.

    Places that every driver comes by alike, such as a commit, are tried at some visits unless `all_` is wanted.
    """

    actions: Sequence[str]
    dice: random.Random
    all_: bool
    open_: dict[str, list[str]] = field(default_factory=dict)
    """Points by action that are not done with."""
    visits: Counter[tuple[str, str]] = field(default_factory=Counter)
    tried: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.open_ = {action: self.dice.sample(POINTS, len(POINTS)) for action in self.actions}

    @property
    def left(self) -> bool:
        return any(self.open_.values())

    def take(self, action: str) -> str:
        if not self.open_[action]:
            return ""
        point = self.open_[action][0]
        self.visits[action, point] += 1 if self._is_whole(point) else self.dice.randint(1, APART)
        return f"{point}@{self.visits[action, point]}"

    def came(self, action: str, place: str, *, crashed: bool) -> None:
        point = place.partition("@")[0]
        self.tried[action, point] += 1
        most = FURTHEST if self._is_whole(point) else DRAWN
        if not crashed or self.tried[action, point] >= most:
            self.open_[action].remove(point)

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

    def came(self, action: str, place: str, *, crashed: bool) -> None:
        pass


def prove_every_driver(trial: Trial) -> Evidence:
    """Break off runs of every driver, of a suspended and of a compensated one, and of one that needs another."""

    def places(name: str, kind: type[Ground]) -> Places:
        dice = random.Random(f"{trial.seed} {name}")
        if trial.scale == Scale.SHORT:
            return Sample(dice, LIVES)
        return Every(kind.actions, dice, all_=trial.scale == Scale.LONG)

    fork_server()
    evidence = Evidence({"drivers": 0, "runs": 0, "crashes": 0, "effects": 0, "drivers not tried to the end": 0})
    missing = [] if shutil.which("terraform") or shutil.which("tofu") else ["terraform"]
    chosen = {name: kind for name, kind in GROUNDS.items() if name not in missing}
    if missing:
        evidence.figures["not tried, for there is no program of that name"] = ", ".join(missing)
    asyncio.run(_tour(trial, evidence, chosen, places))
    return evidence


async def _tour(
    trial: Trial,
    evidence: Evidence,
    chosen: Mapping[str, type[Ground]],
    places: Callable[[str, type[Ground]], Places],
) -> None:
    turns = asyncio.Semaphore(AT_A_TIME)
    by_place: Counter[str] = Counter()

    async def go(name: str, kind: type[Ground]) -> None:
        async with turns:
            say = partial(_say, trial, name)
            way = places(name, kind)
            seconds = MOST_SECONDS[trial.scale]
            done = await tour(kind(trial.scratch / name), way, seconds=seconds, say=say)
        evidence.counts["drivers"] += 1
        evidence.counts["runs"] += len(done.runs)
        evidence.counts["crashes"] += done.crashes.total()
        evidence.counts["drivers not tried to the end"] += way.left
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
) -> Lives:
    """Lives of resources until no place is left, or the time is over; what is found ends it."""
    began = time.monotonic()
    async with lives(ground, planted, patience_seconds) as made:
        number = 0
        while places.left and not made.found and time.monotonic() - began < seconds:
            await made.live(f"thing-{number}", places)
            number += 1
            if number % 10 == 0:
                say(f"{number} lives, {made.crashes.total()} crashes")
        await asyncio.to_thread(made.worker.kill)
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
