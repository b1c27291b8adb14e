"""Rules without a store: the order of steps, what may begin, how long things live."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_provisioning.domain.drift import is_tolerated
from entresol_provisioning.domain.graph import Impossible, StepState, backwards, in_order, ready
from entresol_provisioning.domain.lifetime import Lifetime, extended_end, first_end, warnings
from entresol_provisioning.domain.offering import Action, Offering, Requirement, Step
from entresol_provisioning.domain.requests import (
    RUNNING,
    Request,
    Resource,
    admit,
    ends_cancelled,
    next_delay_seconds,
)
from entresol_provisioning.offerings import read

from services.provisioning.tests.conftest import make_offering

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = 3600
DIAMOND = {"top": ("left", "right"), "left": ("base",), "right": ("base",), "base": ()}


def make_request(action: str = "create", **attributes: Any) -> Request:
    sane: dict[str, Any] = {
        **dict.fromkeys(("offering_digest", "reason", "run_id", "effective", "stop", "started_at", "ended_at")),
        **dict.fromkeys(("lifetime_seconds", "approved")),
        "id": "request-1",
        "resource_id": "shop/dev/db/x",
        "project": "shop",
        "environment": "dev",
        "offering": "db",
        "offering_version": "1.0.0",
        "name": "x",
        "action": action,
        "inputs": {},
        "actor": {"id": "user:ada", "groups": []},
        "dry_run": False,
        "submitted_at": NOON,
        "state": RUNNING,
        "cause": {},
        "destroys": False,
        "steps": 0,
        "phase": "apply",
        "outdated": 0,
        "applied": [],
    }
    return Request(**(sane | attributes))


def make_resource(**attributes: Any) -> Resource:
    sane: dict[str, Any] = {
        "id": "shop/dev/db/x",
        "project": "shop",
        "environment": "dev",
        "offering": "db",
        "offering_version": "1.0.0",
        "offering_digest": "d",
        "name": "x",
        "owner": "user:ada",
        "state": "provisioned",
        "inputs": {},
        "outputs": {},
        "entity": None,
        "created_at": NOON,
        "expires_at": None,
        "revision": 1,
        "request_id": "request-0",
    }
    return Resource(**(sane | attributes))


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
    offering = Offering("d", "db", "1.0.0", ("create", "rotate")) if known else None
    resource = make_resource() if exists else None
    if reason is None:
        admit(make_request(action), offering, resource, (), NOON)
        return
    with pytest.raises(Impossible, match=reason):
        admit(make_request(action), offering, resource, (), NOON)


PAUSED = {"by": "user:bo", "reason": "a migration", "until": "2026-05-01T18:00:00+00:00"}


@pytest.mark.parametrize("action", ["update", "delete", "rotate", "reconcile", "rollback"])
def test_nothing_changes_a_paused_resource(action: str) -> None:
    offering = Offering("d", "db", "1.0.0", ("create", "rotate"))
    with pytest.raises(Impossible, match=r"paused by user:bo until 2026-05-01 18:00 UTC: a migration; unpause"):
        admit(make_request(action), offering, make_resource(paused=PAUSED), (), NOON)


def test_a_paused_resource_may_be_unpaused_and_extended() -> None:
    offering = Offering("d", "db", "1.0.0", ("create",))
    for action in ("unpause", "extend", "pause"):
        admit(make_request(action), offering, make_resource(paused=PAUSED), (), NOON)
    with pytest.raises(Impossible, match="is not paused"):
        admit(make_request("unpause"), offering, make_resource(), (), NOON)


def test_what_others_need_is_not_deleted_and_they_are_named() -> None:
    others = [f"shop/dev/app/{name}" for name in "abcdefg"]
    with pytest.raises(Impossible, match=r"needed by shop/dev/app/a, .*shop/dev/app/e and 2 more; delete what needs"):
        admit(make_request("delete"), None, make_resource(), others, NOON)


def test_who_gives_it_up_may_have_it_deleted() -> None:
    giving_up = {"request_id": "r", "resource_id": "shop/dev/app/a", "name": "db"}
    admit(make_request("delete", requirement=giving_up), None, make_resource(), ["shop/dev/app/a"], NOON)
    both = ["shop/dev/app/a", "shop/dev/app/b"]
    with pytest.raises(Impossible, match="needed by shop/dev/app/b;"):
        admit(make_request("delete", requirement=giving_up), None, make_resource(), both, NOON)


def test_what_was_extended_after_its_end_is_not_deleted_for_that_end() -> None:
    request = make_request("delete", actor={"id": "system:expiry", "groups": []})
    admit(request, None, make_resource(expires_at=NOON), (), NOON)
    for expires_at in (None, NOON + timedelta(seconds=1)):
        with pytest.raises(Impossible, match="was extended"):
            admit(request, None, make_resource(expires_at=expires_at), (), NOON)


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a/b.yaml#/spec/replicas", "a/b.yaml#/spec/replicas", True),
        ("a/b.yaml#/spec/replicas", "a/*#/spec/replicas", True),
        ("a/b/c.yaml#/x", "a/*#/x", False),
        ("a/b/c.yaml#/x", "**/x", True),
        ("x", "**/x", True),
        ("a/b/c.yaml#/x/y", "**/x/**", True),
        ("a/b/c.yaml#/x", "**/x/**", True),
        ("a/b/c.yaml#/xy", "**/x/**", False),
        ("a/b.yaml#/spec/replicas", "a/b.yaml#/spec", False),
        ("a.b", "a?b", False),
        ("a+b", "a+b", True),
    ],
)
def test_which_differences_are_tolerated(path: str, pattern: str, fits: bool) -> None:
    assert is_tolerated(path, [pattern]) is fits


def test_what_an_action_does_is_what_the_manifest_says_of_it() -> None:
    actions = {"create": {"steps": [{"name": "own", "driver": "noop"}], "onFailure": "compensate"}, "rotate": {}}
    other = {"create": {"steps": [{"name": "other", "driver": "noop"}]}}
    ways = [{"name": "way", "match": {"environment": ["dev"]}, "actions": other}]
    offering = read("d", make_offering(actions=actions, implementations=ways))
    for implementation, step in ((None, "own"), ("way", "other")):
        for action in ("create", "adopt", "update", "reconcile", "rollback"):
            found = offering.action(action, implementation)
            assert [one.name for one in found.steps or ()] == [step]
            assert found.compensates
        assert offering.action("rotate", implementation) == Action()


def test_what_is_required_comes_before_the_first_steps() -> None:
    steps = (Step("base", "noop"), Step("top", "noop", needs=("base",)))
    ways: dict[str | None, dict[str, Action]] = {None: {"create": Action(steps), "rotate": Action(steps)}}
    requires = (Requirement("db", "postgres", id="shared"),)
    offering = Offering("d", "app", "1.0.0", ("create", "rotate"), ways, requires=requires)
    needs = {one.name: one.needs for one in offering.action("create", None).steps or ()}
    assert needs == {"requires/db": (), "base": ("requires/db",), "top": ("base",)}
    assert [one.name for one in offering.action("rotate", None).steps or ()] == ["base", "top"]


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
