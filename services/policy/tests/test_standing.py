"""What policy shows of open questions and of exceptions in force."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from entresol_contracts.events import LockLifted, RequestCancelled
from entresol_eventing.telemetry import Telemetry
from entresol_eventing.testing import memory_session
from entresol_policy.standing import show
from entresol_policy.store import Base

from services.policy.tests.test_examining import ASK, AT, RESOURCE, World


@pytest.fixture
def world() -> Iterator[World]:
    with memory_session(Base.metadata) as session:
        yield World(session)


def shown(world: World) -> tuple[float | None, ...]:
    """Open approvals, locks, waivers."""
    metrics = Telemetry().metrics
    show(metrics, "policy", world.session)
    names = ("approvals_open", "locks_active", "waivers_active")
    return tuple(metrics.registry.get_sample_value(f"entresol_{name}", {"service": "policy"}) for name in names)


def test_an_approval_is_open_until_it_is_answered_or_its_request_is_cancelled(world: World) -> None:
    world.policy("eyes", ASK)
    (first,) = world.ask("r1")
    world.ask("r2")
    assert shown(world) == (2, 0, 0)
    world.answer(first)
    assert shown(world) == (1, 0, 0)
    world.hear(RequestCancelled(request_id="r2", resource_id=RESOURCE, project="shop", by="user:ada"))
    assert shown(world) == (0, 0, 0)


def test_a_review_is_no_approval_that_something_waits_for(world: World) -> None:
    glass = {"by": ["user:ada"], "review": {"from": ["group:sre"], "within": "1d"}}
    world.policy("eyes", ASK, breakGlass=glass)
    world.ask(break_glass="it burns")
    assert shown(world) == (0, 0, 0)


def test_locks_and_waivers_are_active_until_they_end(world: World) -> None:
    world.lock()
    world.waive("eyes", AT + timedelta(hours=1))
    assert shown(world) == (0, 1, 1)
    world.pass_time(timedelta(hours=1))
    assert shown(world) == (0, 1, 0)
    world.hear(LockLifted(lock_id="l1", by="user:eve"))
    assert shown(world) == (0, 0, 0)
