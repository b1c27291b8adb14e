"""Failpoints: armed by text, reached once, and exactly those that the sources have; what fails there loses nothing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing import failpoints
from entresol_eventing.envelope import decode, encode
from entresol_eventing.failpoints import POINTS, Injected, arm, failpoint
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.reactions import Emit, Outcome
from entresol_eventing.service import Service
from entresol_eventing.store import outbox
from entresol_eventing.testing import event, eventually, published, running
from entresol_eventing.writer import Unavailable
from sqlalchemy import delete
from sqlmodel import Session

from libs.eventing.tests.counting import Counting, cancelled, counted, merged
from libs.eventing.tests.test_delivery import has_counted, publish

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm("")


def test_the_sources_have_every_failpoint_and_no_other() -> None:
    found: set[str] = set()
    for source in [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]:
        if source != Path(failpoints.__file__):
            found |= set(re.findall(r"failpoint\((.*?)\)", source.read_text(encoding="utf-8")))
    assert found == {f'"{point}"' for point in POINTS}


def test_nothing_happens_unless_it_is_armed() -> None:
    arm("commit.before=fail")
    failpoint("commit.after")
    arm("")
    failpoint("commit.before")


def test_it_happens_at_the_visit_that_was_named_and_never_again() -> None:
    arm("ack.before@3=fail")
    for visit in range(1, 10):
        if visit == 3:
            with pytest.raises(Injected, match=r"ack\.before"):
                failpoint("ack.before")
        else:
            failpoint("ack.before")
            failpoint("ack.after")


@pytest.mark.parametrize(
    "text",
    ["nowhere", "commit", "commit.before=sleep", "commit.before@0", "commit.before@x", "commit.before@", "=fail"],
)
def test_what_is_no_failpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no such failpoint"):
        arm(text)


@pytest.mark.parametrize("text", ["effect.after", "effect.after=crash", "effect.after@2"])
def test_a_crash_is_a_kill(text: str) -> None:
    program = (
        f"from entresol_eventing.failpoints import arm, failpoint; arm({text!r})\nwhile True: failpoint('effect.after')"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL


def test_what_is_frozen_goes_on_when_it_is_thawed() -> None:
    program = "from entresol_eventing.failpoints import arm, failpoint; arm('ack.after=freeze'); failpoint('ack.after')"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as frozen:
        _, status = os.waitpid(frozen.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(60) == 0


MESSAGES = 30
RUNTIME = sorted(point for point in POINTS if not point.startswith("effect."))


@pytest.mark.parametrize(
    ("point", "visit"),
    [
        # The first commit takes the right to write: a service does not start without.
        (point, visit + point.startswith("commit."))
        for point in RUNTIME
        for visit in (1, 2)
        if (point, visit) != ("consumer.middle", 2)
    ],
)
async def test_a_failure_anywhere_in_the_runtime_loses_and_repeats_nothing(
    tmp_path: Path, nats: NatsServer, point: str, visit: int
) -> None:
    wanted = [f"cart#{number}" for number in range(MESSAGES)]
    bodies = [encode(event(merged("cart", number), subject="shop/cart")) for number in range(MESSAGES)]
    arm(f"{point}@{visit}=fail")
    async with running(Counting().service(tmp_path, nats.url, batch_size=2), ready_seconds=30) as service:
        # Two at a time, so that batches follow each other and each batch says two events.
        await publish(nats, *bodies)
        await eventually(lambda: has_counted(service, MESSAGES), seconds=30)
        assert await counted(service) == wanted
        await eventually(lambda: answers_stand_on_the_log(nats, service), seconds=30)
        assert len(await published(service)) == MESSAGES
    assert was_reached(), f"{point} was not reached {visit} times"


def was_reached() -> bool:
    armed = failpoints._armed
    return armed is not None and armed.visits >= armed.visit


async def answers_stand_on_the_log(server: NatsServer, service: Service) -> bool:
    """Whether the log has every answer that was recorded, in that order; copies are for the inboxes to drop."""
    import nats as client

    recorded = [one.id for one in await published(service)]
    connection = await client.connect(server.url)
    reader = await connection.jetstream().subscribe("entresol.policy.>", stream="EVENTS", ordered_consumer=True)
    try:
        ids: list[str] = []
        while not set(recorded) <= set(ids):
            message = await reader.next_msg(timeout=1)
            ids.append(decode(message.data).id)
    except client.errors.TimeoutError:
        return False
    finally:
        await connection.close()
    return [one for one in dict.fromkeys(ids) if one in recorded] == recorded


def say(key: str) -> Any:
    def unit(_: Session) -> Generator[Outcome, None, None]:
        yield Emit(cancelled(key), subject=key)

    return unit


async def test_a_commit_of_unknown_outcome_is_published_before_what_follows(
    tmp_path: Path, nats: NatsServer, database_url: str
) -> None:
    async with running(Counting().service(tmp_path, nats.url, database_url=database_url)) as service:
        await service.transact(say("first"))
        await eventually(lambda: service._relay.position == 1)
        arm("commit.after=fail")
        with pytest.raises(Unavailable):
            await service.transact(say("unknown"))
        await eventually(lambda: service._relay.position == 2)
        await service.transact(say("last"))
        await eventually(lambda: service._relay.position == 3)
        assert [one.subject for one in await published(service)] == ["first", "unknown", "last"]


async def test_a_service_that_said_nothing_for_longer_than_its_retention_is_heard_again(
    tmp_path: Path, nats: NatsServer
) -> None:
    async with running(Counting().service(tmp_path, nats.url)) as service:
        await service.transact(say("first"))
        await eventually(lambda: service._relay.position == 1)
    async with running(Counting().service(tmp_path, nats.url)) as service:
        await service.transact(remove_everything_published)
    async with running(Counting().service(tmp_path, nats.url)) as service:
        await service.transact(say("second"))
        await eventually(lambda: service._relay.position == 2)
        await eventually(lambda: answers_stand_on_the_log(nats, service))


def remove_everything_published(session: Session) -> Generator[Outcome, None, None]:
    session.execute(delete(outbox))
    yield from ()
