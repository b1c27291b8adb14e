"""Rules without a store: the order of steps, what may begin, how long things live."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_provisioning.domain.graph import Impossible, StepState, backwards, in_order, ready
from entresol_provisioning.domain.lifetime import Lifetime, extended_end, first_end, warnings
from entresol_provisioning.domain.offering import Offering, Step
from entresol_provisioning.domain.requests import admit, effective_inputs, ends_cancelled, next_delay_seconds

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = 3600
DIAMOND = {"top": ("left", "right"), "left": ("base",), "right": ("base",), "base": ()}


def test_steps_come_after_what_they_need() -> None:
    assert in_order(DIAMOND) == ["base", "left", "right", "top"]


def test_taking_down_goes_the_other_way() -> None:
    assert in_order(backwards(DIAMOND)) == ["top", "right", "left", "base"]


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"a": ("b",), "b": ("a",)}, "in a circle"),
        ({"a": ("a",)}, "in a circle"),
        ({"a": ("nowhere",)}, "not a step"),
    ],
)
def test_an_impossible_order_is_told(needs: dict[str, Sequence[str]], reason: str) -> None:
    with pytest.raises(Impossible, match=reason):
        in_order(needs)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"base": "ready", "left": "waiting", "right": "waiting", "top": "waiting"}, []),
        ({"base": "succeeded", "left": "waiting", "right": "waiting", "top": "waiting"}, ["left", "right"]),
        ({"base": "succeeded", "left": "skipped", "right": "ready", "top": "waiting"}, []),
        ({"base": "succeeded", "left": "skipped", "right": "succeeded", "top": "waiting"}, ["top"]),
        ({"base": "failed", "left": "waiting", "right": "waiting", "top": "waiting"}, []),
    ],
)
def test_a_step_is_ready_when_all_it_needs_is_done(states: dict[str, str], expected: list[str]) -> None:
    assert sorted(ready({name: StepState(name, DIAMOND[name], states[name]) for name in DIAMOND})) == expected


@pytest.mark.parametrize(
    ("action", "known", "exists", "reason"),
    [
        ("create", True, True, "already exists; use update"),
        ("update", True, False, "there is no shop/dev/db/x"),
        ("extend", True, False, "there is no"),
        ("rotate", True, False, "there is no"),
        ("dance", True, True, "has no action dance"),
        ("create", False, False, "is not known here"),
        ("create", True, False, None),
        ("update", True, True, None),
        ("rotate", True, True, None),
        ("delete", True, False, None),
        ("delete", False, True, None),
    ],
)
def test_what_may_begin(action: str, known: bool, exists: bool, reason: str | None) -> None:
    offering = Offering("d", "db", "1.0.0", {"create": (), "rotate": ()}) if known else None
    if reason is None:
        admit(action, "shop/dev/db/x", offering, "db 1.0.0", exists=exists)
        return
    with pytest.raises(Impossible, match=reason):
        admit(action, "shop/dev/db/x", offering, "db 1.0.0", exists=exists)


def test_an_update_without_steps_of_its_own_repeats_the_create() -> None:
    step = Step("s", "noop")
    assert Offering("d", "db", "1.0.0", {"create": (step,)}).steps("update") == (step,)
    assert Offering("d", "db", "1.0.0", {"create": (step,), "update": None}).steps("update") == (step,)
    assert Offering("d", "db", "1.0.0", {"create": (step,), "update": ()}).steps("update") == ()


@pytest.mark.parametrize(
    ("action", "expected"),
    [("create", {"a": 1}), ("update", {"a": 1, "b": 0}), ("rotate", {"a": 1, "b": 0})],
)
def test_inputs_are_merged_over_the_resources(action: str, expected: dict[str, Any]) -> None:
    assert effective_inputs(action, {"a": 1}, {"a": 0, "b": 0}) == expected


@pytest.mark.parametrize(
    ("action", "done", "expected"),
    [("create", True, True), ("create", False, True), ("delete", True, False), ("update", False, True)],
)
def test_what_has_wholly_happened_to_a_resource_is_not_called_cancelled(
    action: str, done: bool, expected: bool
) -> None:
    assert ends_cancelled(action, everything_done=done) is expected


@pytest.mark.parametrize(
    ("lifetime", "asked", "hours"),
    [
        (Lifetime(), None, None),
        (Lifetime(), 2 * HOUR, 2),
        (Lifetime(default_seconds=5 * HOUR), None, 5),
        (Lifetime(default_seconds=5 * HOUR, max_seconds=9 * HOUR), 7 * HOUR, 7),
        (Lifetime(default_seconds=5 * HOUR, max_seconds=9 * HOUR), 99 * HOUR, 9),
        (Lifetime(max_seconds=9 * HOUR), None, 9),
    ],
)
def test_how_long_a_new_resource_lives(lifetime: Lifetime, asked: int | None, hours: int | None) -> None:
    assert first_end(lifetime, asked, NOON) == (None if hours is None else NOON + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("asked", "expires_in", "reason"),
    [
        (20 * HOUR, 1, "2026-05-01 22:00:00 UTC at the longest"),
        (2 * HOUR, None, "nothing to extend"),
        (1 * HOUR, 3, "anyway"),
    ],
)
def test_an_extension_that_is_none_is_refused(asked: int, expires_in: int | None, reason: str) -> None:
    end = None if expires_in is None else NOON + timedelta(hours=expires_in)
    with pytest.raises(Impossible, match=reason):
        extended_end(Lifetime(max_seconds=10 * HOUR), asked, NOON, end, NOON + timedelta(hours=1))


def test_an_extension_counts_from_now() -> None:
    at = NOON + timedelta(hours=1)
    end = extended_end(Lifetime(max_seconds=10 * HOUR), 9 * HOUR, NOON, NOON + timedelta(hours=2), at)
    assert end == at + timedelta(hours=9)


@pytest.mark.parametrize(
    ("lifetime", "life_minutes", "expected_minutes"),
    [
        (Lifetime(), 5 * 24 * 60, [4 * 24 * 60, 5 * 24 * 60 - 60]),
        (Lifetime(), 180, [120]),
        (Lifetime(), 100, [50, 90]),
        (Lifetime(warn_seconds=(600.0, 1800.0, 99999999.0)), 100, [70, 90]),
        (Lifetime(warn_seconds=()), 100, []),
    ],
)
def test_when_the_end_is_announced(lifetime: Lifetime, life_minutes: int, expected_minutes: list[int]) -> None:
    found = warnings(lifetime, NOON, NOON + timedelta(minutes=life_minutes))
    assert [(one - NOON).total_seconds() / 60 for one in found] == expected_minutes


@pytest.mark.parametrize(
    ("attempt", "jitter", "expected"), [(1, 0.0, 0.5), (1, 1.0, 1.0), (4, 1.0, 8.0), (9, 1.0, 30.0), (5000, 1.0, 30.0)]
)
def test_waits_between_attempts_double_up_to_a_limit(attempt: int, jitter: float, expected: float) -> None:
    assert next_delay_seconds(attempt, jitter, first=1.0, longest=30.0) == expected
