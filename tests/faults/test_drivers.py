"""Every driver has a ground to be tried on, and every visit to a place is tried that a run comes by."""

import asyncio
import random
from pathlib import Path

import pytest
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.settings import Settings

from tests.faults.drivers import POINTS, Every, Fixed, tour
from tests.faults.grounds import GROUNDS


def test_every_driver_that_touches_the_world_is_tried(tmp_path: Path) -> None:
    tried = {kind.driver for kind in GROUNDS.values()}
    assert tried == set(assemble(Settings(data=tmp_path))) - {"noop"}


def test_each_visit_to_a_place_is_tried_until_a_run_does_not_come_by() -> None:
    visits = {"effect.before": 3, "effect.running": 0, "commit.after": 9}
    places = Every(["create", "delete"], random.Random(1), all_=True)
    crashes = set()
    while places.left:
        for action in ("create", "delete"):
            point, _, visit = (place := places.take(action)).partition("@")
            if place:
                crashed = int(visit) <= visits.get(point, 1)
                crashes |= {(action, place)} if crashed else set()
                places.came(action, place, crashed=crashed)
    came_by = {f"{point}@{visit}" for point in POINTS for visit in range(1, visits.get(point, 1) + 1)}
    assert crashes == {(action, place) for action in ("create", "delete") for place in came_by}


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("ground", ["http", "required"])
def test_a_crash_after_an_effect_repeats_nothing_and_leaves_nothing(ground: str, tmp_path: Path) -> None:
    done = asyncio.run(tour(GROUNDS[ground](tmp_path / ground), Fixed("effect.after@1")))
    assert done.found == []
    assert done.crashes == {"effect.after": 3}
