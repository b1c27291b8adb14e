"""What policy shows of open questions and of exceptions in force, and what it forgets."""

from collections.abc import Generator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from entresol_contracts.events import AnswerRefused, LockLifted, RequestAllowed, RequestCancelled
from entresol_eventing.envelope import now
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.telemetry import Telemetry
from entresol_eventing.testing import eventually, nats_server, running
from entresol_policy.app import create
from entresol_policy.settings import Settings
from entresol_policy.standing import show
from entresol_policy.store import cases
from sqlalchemy import insert
from sqlmodel import Session

from services.policy.tests.conftest import AT, RESOURCE, World
from services.policy.tests.test_examining import ASK, GLASS, ONCALL


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


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
    world.policy("eyes", ASK)
    world.policy("emergencies", GLASS)
    assert isinstance(world.ask(actor=ONCALL, break_glass="it burns")[0], RequestAllowed)
    assert shown(world) == (0, 0, 0)


def test_what_was_over_long_ago_is_forgotten_and_what_waits_is_not(world: World) -> None:
    world.policy("eyes", ASK)
    world.policy("emergencies", GLASS)
    (granted,) = world.ask("granted")
    world.answer(granted)
    world.ask("waits")
    world.ask("reviewed", actor=ONCALL, break_glass="it burns")
    *_, over = world.ask("signed", actor=ONCALL, break_glass="it burns")
    world.answer(over, "user:sam", groups=["security"])
    assert cases.sweep(world.session, now() - timedelta(minutes=1), 10) == 0
    assert cases.sweep(world.session, now() + timedelta(minutes=1), 1) == 1
    assert cases.sweep(world.session, now() + timedelta(minutes=1), 10) == 1
    assert [cases.state_of(world.session, one) for one in ("granted", "waits", "reviewed", "signed")] == [
        None,
        "waiting",
        "allowed",
        None,
    ]
    assert cases.questions(world.session, "granted") == []
    (refused,) = world.answer(granted)
    assert isinstance(refused, AnswerRefused)


async def test_the_service_forgets_by_itself(tmp_path: Path, bus: NatsServer) -> None:
    settings = Settings(data=tmp_path, nats_url=bus.url)
    old = {"id": "old", "state": "denied", "document": {}, "holds": [], "overridden": [], "cause": {}}

    def remember(session: Session) -> Generator[Outcome, None, None]:
        yield from ()
        session.connection().execute(insert(cases.request), {**old, "changed_at": now() - timedelta(days=91)})

    async with running(create(settings)) as service:
        await service.transact(remember)
    async with running(create(settings)) as service:
        await eventually(lambda: gone(service))


async def gone(service: Service) -> bool:
    return await service.read(lambda session: cases.state_of(session, "old") is None)


def test_locks_and_waivers_are_active_until_they_end(world: World) -> None:
    world.lock()
    world.waive("eyes", AT + timedelta(hours=1))
    assert shown(world) == (0, 1, 1)
    world.pass_time(timedelta(hours=1))
    assert shown(world) == (0, 1, 0)
    world.hear(LockLifted(lock_id="l1", by="user:eve"))
    assert shown(world) == (0, 0, 0)
