"""Whose turn it is among steps that are ready: nobody waits for one who has many."""

from typing import Any

import pytest
from entresol_provisioning import claims
from entresol_provisioning.claims import Intent
from entresol_provisioning.turns import Slots

from services.provisioning.tests.conftest import Desk, make_offering

Acting = dict[tuple[str, str], str]


def _offer(desk: Desk, name: str, count: int, **step: Any) -> None:
    steps = [{"name": f"s{number}", "driver": "noop", **step} for number in range(count)]
    desk.apply(make_offering(name, actions={"create": {"steps": steps}}))


def _ask(desk: Desk, offering: str, name: str = "orders") -> str:
    return desk.ask(offering=offering, name=name)


def _take(desk: Desk, slots: Slots, acting: Acting) -> list[Intent]:
    found = claims.ready(desk.session, desk.offerings, slots, acting)
    acting.update({one.key: one.step.driver for one in found})
    return found


def _requests(found: list[Intent]) -> list[str]:
    return [one.request.id for one in found]


@pytest.mark.parametrize(("slots", "share"), [(128, 96), (16, 12), (3, 3), (1, 1)])
def test_one_run_leaves_a_quarter_of_the_slots_to_others(desk: Desk, slots: int, share: int) -> None:
    _offer(desk, "large", 300)
    _ask(desk, "large")
    acting: Acting = {}
    assert len(_take(desk, Slots(slots), acting)) == share
    assert not _take(desk, Slots(slots), acting)


def test_a_run_with_hundreds_of_steps_keeps_no_other_waiting(desk: Desk) -> None:
    _offer(desk, "large", 300)
    _offer(desk, "small", 1)
    _ask(desk, "large")
    acting: Acting = {}
    _take(desk, Slots(8), acting)
    small = _ask(desk, "small")
    assert _requests(_take(desk, Slots(8), acting)) == [small]


def test_the_next_free_slot_is_of_the_run_that_has_none(desk: Desk) -> None:
    _offer(desk, "large", 300)
    _offer(desk, "small", 1)
    first, second = _ask(desk, "large"), _ask(desk, "large", "others")
    acting: Acting = {}
    shared = _requests(_take(desk, Slots(8), acting))
    assert (shared.count(first), shared.count(second)) == (6, 2)
    small = _ask(desk, "small")
    assert not _take(desk, Slots(8), acting)
    acting.popitem()
    assert _requests(_take(desk, Slots(8), acting)) == [small]


def test_steps_of_a_slow_driver_take_no_slot_of_another(desk: Desk) -> None:
    _offer(desk, "slow", 1, driver="exec", **{"with": {"program": "slow"}})
    _offer(desk, "small", 1)
    for number in range(150):
        _ask(desk, "slow", f"n{number}")
    acting: Acting = {}
    slots = Slots(128, {"exec": 16})
    assert len(_take(desk, slots, acting)) == 16
    small = _ask(desk, "small")
    assert _requests(_take(desk, slots, acting)) == [small]


def test_the_oldest_run_comes_first(desk: Desk) -> None:
    _offer(desk, "small", 1)
    for number in range(6):
        _ask(desk, "small", f"n{number}")
    acting: Acting = {}
    taken: list[str] = []
    while found := _take(desk, Slots(2), acting):
        taken += [one.key[0] for one in found]
        for _ in found:
            desk.done("s0")
        acting.clear()
    assert taken == sorted(taken)
    assert len(taken) == 6
