"""Every driver has a ground to be tried on, and every visit to a place is tried that a run comes by."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.settings import Settings

from tests.faults.drivers import Every, Fixed, tour
from tests.faults.grounds import GROUNDS
from tests.faults.lives import COUNT


def test_every_driver_that_touches_the_world_is_tried(tmp_path: Path) -> None:
    tried = {kind.driver for kind in GROUNDS.values()}
    assert tried == set(assemble(Settings(data=tmp_path))) - {"noop"}


def test_each_visit_to_a_place_is_tried_that_an_undisturbed_run_comes_by() -> None:
    visits = Counter({"effect.before": 3, "commit.after": 9})
    places = Every(["create", "delete"], random.Random(1), all_=True)
    crashes = []
    while places.left:
        for action in ("create", "delete"):
            if (place := places.take(action)) == COUNT:
                places.counted(action, visits)
            elif place:
                crashes.append((action, place))
                places.came(action, place, crashed=True)
    came_by = [f"{point}@{visit}" for point, most in visits.items() for visit in range(1, most + 1)]
    assert sorted(crashes) == sorted((action, place) for action in ("create", "delete") for place in came_by)
    assert {place.partition("@")[0] for _, place in crashes[:4]} == visits.keys(), "each place is tried first"
    assert places.known == places.tried.total() == len(crashes)


def test_a_place_that_runs_do_not_come_by_again_is_told_of_until_it_is_given_up() -> None:
    places = Every(["create"], random.Random(1), all_=False)
    assert places.untried == []
    places.take("create")
    places.counted("create", Counter({"effect.before": 1, "commit.after": 1}))
    assert places.untried == ["create at commit.after", "create at effect.before"]
    while places.left:
        place = places.take("create")
        places.came("create", place, crashed=place.startswith("effect."))
    assert (places.known, places.tried.total(), places.given_up, places.untried) == (2, 1, 1, [])


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("ground", ["http", "required"])
def test_a_crash_after_an_effect_repeats_nothing_and_leaves_nothing(ground: str, tmp_path: Path) -> None:
    done = asyncio.run(tour(GROUNDS[ground](tmp_path / ground), Fixed("effect.after@1")))
    assert done.found == []
    assert done.crashes == {"effect.after": 3}
