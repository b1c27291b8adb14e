"""The whole service on a real bus: good receivers are told, bad ones hold up nobody else."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import nats
import pytest
from entresol_contracts import EVENT_TYPES
from entresol_contracts.events import (
    ApprovalRequested,
    ManifestApplied,
    NotificationDelivered,
    NotificationFailed,
    RequestDenied,
)
from entresol_eventing.envelope import Event, encode, log_subject, types_by_model
from entresol_eventing.links import Keys
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.service import Service
from entresol_eventing.testing import assert_migrations_match, event, eventually, nats_server, published, running
from entresol_eventing.testing.postgres import PostgresServer, binaries
from entresol_manifests.reading import read
from entresol_notification.app import MIGRATIONS, create
from entresol_notification.settings import Settings
from entresol_notification.store import Attempt, Base, Delivery
from nats.aio.client import Client
from sqlmodel import select

BAD = [
    "refusing",
    "broken",
    "gone",
    "busy",
    "redirecting",
    "dropping",
    "garbage",
    "endless-headers",
    "slack-error",
]
STUCK = ["slow", "dripping"]
STARTER = Path(__file__).parents[3] / "libs/cli/src/entresol/starter/notifications.yaml"
EXAMPLES = Path(__file__).parents[3] / "schemas/examples"
OWNED = "shop/staging/database/orders of user:ada"
TOLD = {
    "resource.drifted": f"{OWNED} has drifted (ask): shop/orders.yaml#/replicas changed; nothing is left of"
    " database; all of it: entresol drift shop/staging/database/orders",
    "resource.converged": f"{OWNED} is again what it says",
    "resource.unobserved": f"nobody can see whether {OWNED} has drifted, since 10:00 UTC: step manifests: the"
    " repository refuses the credentials; it was last looked at 09:50 UTC",
    "resource.observed": f"{OWNED} can be looked at again, since 11:00 UTC",
    "resource.expiring": f"{OWNED} expires at 10:00 UTC; it can still be extended:"
    " entresol extend shop/staging/database/orders --for 2d",
    "resource.expired": f"{OWNED} has expired and will be deleted",
    "resource.deleted": "shop/staging/database/orders was deleted; left behind: database (the cloud can't be reached)",
    "run.suspended": "the run of shop/staging/database/orders, asked for by user:ada, waits in step migrate until"
    " 10:00 UTC at most for somebody to let it go on: the job runs; entresol"
    " resume 0199a1b2-0000-7000-8000-000000000001",
    "glass.broken": "GLASS BROKEN by user:grace for shop/prod/database/orders (update): the shop is down; what stood in"
    " the way: policy production-approval asks group:sre; group:security must review it by 10:00 UTC",
}
NOBODYS = ("run.suspended", "resource.deleted")
"""Nobody is told of them where a step goes on by itself, and where nothing was left behind."""
REQUESTED = "dev.entresol.approval.requested.v1"
LINK_KEY = "canary-key-of-the-links-32-bytes"
SECRET = "whsec_" + base64.b64encode(b"canary-secret-of-this-channel!!!").decode()


class Platform:
    """The service under test, and a stand-in for the others."""

    def __init__(self, service: Service, client: Client) -> None:
        self.service = service
        self._stream = client.jetstream()

    async def say(self, *said: Event[Any]) -> None:
        for one in said:
            known = types_by_model()[type(one.data)]
            await self._stream.publish(log_subject(known.publisher, known, one.subject), encode(one))

    async def apply(self, kind: str, name: str, /, **spec: Any) -> None:
        document = {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        applied = ManifestApplied(kind=kind, name=name, digest="sha256:x", manifest=document)
        await self.say(event(applied, subject=f"{kind}/{name}"))

    async def route(self, channel: str, **spec: Any) -> None:
        await self.apply("Route", f"to-{channel}", on=["dev.entresol.request.denied.v1"], channel=channel, **spec)

    async def ended(self, number: int, seconds: float = 20) -> list[Event[Any]]:
        async def enough() -> list[Event[Any]]:
            found = await published(self.service)
            return found if len(found) >= number else []

        return await eventually(enough, seconds=seconds)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A store of each kind; empty means SQLite in the data directory."""
    if request.param == "sqlite":
        yield ""
        return
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        yield server.database("store")


@asynccontextmanager
async def platform(bus: NatsServer, data: Path, **changed: Any) -> AsyncIterator[Platform]:
    plain: dict[str, Any] = {
        "data": data,
        "nats_url": bus.url,
        "allow_loopback": True,
        "attempts": 3,
        "first_retry_seconds": 0.05,
        "longest_retry_seconds": 0.2,
        "deadline_seconds": 10.0,
    }
    client = await nats.connect(bus.url)
    try:
        async with running(create(Settings(**plain | changed))) as service:
            yield Platform(service, client)
    finally:
        await client.close()


def denied(number: int = 0) -> Event[RequestDenied]:
    request_id = f"r{number}"
    resource_id = f"shop/prod/database/orders-{number}"
    return event(
        RequestDenied(
            request_id=request_id, resource_id=resource_id, project="shop", because=["too large"], verdicts=[]
        )
    )


async def rows(service: Service, table: type[Any]) -> list[Any]:
    return await service.read(lambda session: list(session.exec(select(table))))


def test_the_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    assert_migrations_match(MIGRATIONS, Base.metadata, tmp_path)


async def test_a_receiver_is_told_in_order_and_signed(
    bus: NatsServer, tmp_path: Path, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    hook = await receiver("good")
    async with platform(bus, tmp_path) as entresol:
        await entresol.apply("Channel", "hook", kind="webhook", url=hook.url, secretRef="env:HOOK_SECRET")
        await entresol.route("hook")
        events = [denied(number) for number in range(30)]
        await entresol.say(*events)
        told = await entresol.ended(30)
        assert [json.loads(one.body)["id"] for one in hook.received] == [one.id for one in events]
        assert {one.headers["webhook-signature"][:3] for one in hook.received} == {"v1,"}
        assert [type(one.data) for one in told] == [NotificationDelivered] * 30
        assert [one.causationid for one in told] == [one.id for one in events]
        assert told[0].actor == "system:notification"
        assert told[0].data.delivery_id == hook.received[0].headers["webhook-id"]


async def test_bad_receivers_hold_up_nobody_else(bus: NatsServer, tmp_path: Path, receiver: Any) -> None:
    """Each has its own channel; the others come to their ends while the stuck ones are at their first attempt."""
    hooks = {name: await receiver(name) for name in ["good", *BAD, *STUCK]}
    async with platform(bus, tmp_path, concurrency=8, deadline_seconds=60.0) as entresol:
        for name, hook in hooks.items():
            await entresol.apply("Channel", name, kind="webhook", url=hook.url)
            await entresol.route(name)
        await entresol.apply("Channel", "nowhere", kind="webhook", url="http://127.0.0.1:1/top-secret-path")
        await entresol.apply("Channel", "inside", kind="webhook", url="http://169.254.169.254/latest")
        for name in ("nowhere", "inside", "never-applied"):
            await entresol.route(name)
        await entresol.say(*(denied(number) for number in range(3)))
        ends = await entresol.ended(3 * (len(BAD) + 4), seconds=40)
        assert len(hooks["good"].received) == 3
        assert [len(hooks[name].received) for name in STUCK] == [1] * len(STUCK)
        failed = [one.data for one in ends if isinstance(one.data, NotificationFailed)]
        assert {one.channel for one in failed} == {*BAD, "nowhere", "inside", "never-applied"}
        assert all(one.attempts == (1 if one.channel in ("gone", "inside") else 3) for one in failed)
        for name in BAD:
            assert len(hooks[name].received) == sum(one.attempts for one in failed if one.channel == name), name
        assert not any("secret" in one.reason or "127.0.0.1" in one.reason for one in failed)
        assert len(await rows(entresol.service, Attempt)) == sum(one.attempts for one in failed) + 3
        assert entresol.service.health()["ready"]


async def test_a_receiver_without_an_answer_costs_one_deadline_each_time(
    bus: NatsServer, tmp_path: Path, receiver: Any
) -> None:
    async with platform(bus, tmp_path, attempts=2, deadline_seconds=0.3) as entresol:
        for name in STUCK:
            await entresol.apply("Channel", name, kind="webhook", url=(await receiver(name)).url)
            await entresol.route(name)
        await entresol.say(denied())
        ends = [one.data for one in await entresol.ended(len(STUCK))]
    assert {one.channel: (type(one), one.attempts) for one in ends} == dict.fromkeys(STUCK, (NotificationFailed, 2))
    assert all("did not answer" in one.reason for one in ends)


async def test_a_receiver_that_recovers_sees_the_same_delivery_id(
    bus: NatsServer, tmp_path: Path, receiver: Any, database_url: str
) -> None:
    hook = await receiver("once-in-three")
    async with platform(bus, tmp_path, database_url=database_url) as entresol:
        await entresol.apply("Channel", "hook", kind="webhook", url=hook.url)
        await entresol.route("hook")
        await entresol.say(denied())
        (delivered,) = await entresol.ended(1)
        assert isinstance(delivered.data, NotificationDelivered)
        assert delivered.data.attempts == 3
        assert {one.headers["webhook-id"] for one in hook.received} == {delivered.data.delivery_id}
        attempts = await rows(entresol.service, Attempt)
        assert [one.answer for one in attempts] == ["the receiver answered 503", "the receiver answered 503", "200"]


async def test_deliveries_survive_a_restart(bus: NatsServer, tmp_path: Path, receiver: Any) -> None:
    hook = await receiver("good")
    async with platform(bus, tmp_path, attempts=50) as entresol:
        await entresol.route("hook")
        await entresol.say(denied())
        await eventually(lambda: rows(entresol.service, Attempt))
    async with platform(bus, tmp_path, attempts=50) as entresol:
        await entresol.apply("Channel", "hook", kind="webhook", url=hook.url)
        (delivered,) = await entresol.ended(1)
        assert isinstance(delivered.data, NotificationDelivered)
        assert len(hook.received) == 1


async def test_the_log_channel_and_unmatched_events(bus: NatsServer, tmp_path: Path) -> None:
    async with platform(bus, tmp_path) as entresol:
        await entresol.apply("Channel", "log", kind="log")
        await entresol.route("log", when='event.data.request_id == "r7"')
        await entresol.say(*(denied(number) for number in range(10)))
        (delivered,) = await entresol.ended(1)
        assert delivered.data.answer == "logged"
        (delivery,) = await rows(entresol.service, Delivery)
        assert delivery.message == "request shop/prod/database/orders-7 was denied: too large"
        assert delivery.ended_at is not None


async def test_the_starter_tells_people_what_waits_for_them(
    bus: NatsServer, tmp_path: Path, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = await receiver("good")
    monkeypatch.setenv("CHAT_URL", chat.url)
    said = [example(fact) for fact in TOLD]
    suspended, deleted = (example(fact) for fact in NOBODYS)
    said += [
        suspended.model_copy(update={"data": suspended.data.model_copy(update={"resumable": False})}),
        deleted.model_copy(update={"data": deleted.data.model_copy(update={"orphaned": None})}),
    ]
    async with platform(bus, tmp_path) as entresol:
        await entresol.apply("Channel", "log", kind="slack", urlRef="env:CHAT_URL")
        for one in (manifest.document for manifest in read([STARTER])):
            if one["kind"] == "Route":
                await entresol.apply("Route", one["metadata"]["name"], **one["spec"])
        await entresol.route("log")
        await entresol.say(*said, denied())
        await entresol.ended(len(TOLD) + 1)
    *texts, last = (json.loads(one.body)["text"] for one in chat.received)
    assert texts == list(TOLD.values())
    assert "orders-0 was denied" in last, "nobody is told of what goes on by itself"


def example(fact: str) -> Event[Any]:
    known = next(one for one in EVENT_TYPES if one.fact == fact)
    data = json.loads((EXAMPLES / f"{fact}.v1.full.json").read_text(encoding="utf-8"))
    return event(known.model.model_validate(data), time=datetime(2026, 11, 21, 9, tzinfo=UTC))


async def say_asked(entresol: Platform) -> None:
    now = datetime.now(UTC)
    ask = ApprovalRequested(
        request_id="r1",
        resource_id="shop/prod/database/<orders>",
        project="shop",
        approval_id="a1",
        policy="production",
        approvers=["group:sre"],
        count=1,
        not_self=True,
        requested_by="user:bob",
        expires_at=now + timedelta(hours=4),
    )
    await entresol.say(event(ask))


async def test_every_receiver_gets_a_link_that_nobody_else_ever_sees(
    bus: NatsServer,
    tmp_path: Path,
    receiver: Any,
    mailbox: Any,
    mail_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    hook, slack, broken = await receiver("good"), await receiver("good"), await receiver("broken")
    (tmp_path / "keys").write_text(LINK_KEY + "\n")
    monkeypatch.setenv("SLACK_URL", slack.url)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    settings = {
        "public_url": "https://entresol.example.com/",
        "link_key_file": tmp_path / "keys",
        "smtp_host": "127.0.0.1",
        "smtp_port": mail_port,
        "smtp_from": "entresol@example.com",
        "smtp_starttls": False,
    }
    reader = {"answersAs": {"actor": "user:ada", "groups": ["sre"]}}
    channels: dict[str, dict[str, Any]] = {
        "hook": {"kind": "webhook", "url": hook.url, "secretRef": "env:HOOK_SECRET", **reader},
        "slack": {"kind": "slack", "urlRef": "env:SLACK_URL", **reader},
        "mail": {"kind": "email", "to": ["ada@example.com"], **reader},
        "broken": {"kind": "webhook", "url": broken.url, **reader},
        "plain": {"kind": "webhook", "url": hook.url},
        "log": {"kind": "log"},
    }
    async with platform(bus, tmp_path / "data", **settings) as entresol:
        for name, spec in channels.items():
            await entresol.apply("Channel", name, **spec)
            await entresol.apply("Route", f"to-{name}", on=[REQUESTED], channel=name)
        await say_asked(entresol)
        ended = await entresol.ended(6)
        assert sorted(one.data.channel for one in ended if isinstance(one.data, NotificationDelivered)) == sorted(
            set(channels) - {"broken"}
        )
        deliveries = await rows(entresol.service, Delivery)
        kept = [encode(one).decode() for one in ended] + [one.model_dump_json() for one in deliveries]

    signed, plain = sorted(hook.received, key=lambda one: "webhook-signature" not in one.headers)
    url = json.loads(signed.body)["data"]["answer_url"]
    base, _, token = url.rpartition("/")
    assert base == "https://entresol.example.com/intake/answers"
    link = Keys([LINK_KEY.encode()]).read(token)
    assert link is not None
    assert (link.approval_id, link.actor, link.groups) == ("a1", "user:ada", ("sre",))
    stamp = f"{signed.headers['webhook-id']}.{signed.headers['webhook-timestamp']}.".encode()
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.digest(key, stamp + signed.body, hashlib.sha256)).decode()
    assert signed.headers["webhook-signature"] == f"v1,{mac}", "the link is signed with the rest"
    assert "answer_url" not in json.loads(plain.body)["data"]

    first, second = json.loads(slack.received[0].body)["text"].split("\n")
    assert "&lt;orders&gt;" in first
    assert second == f"Answer as user:ada: {url}"
    (mail,) = mailbox.mails
    assert isinstance(mail.content, bytes)
    assert f"Answer as user:ada: {url}" in message_from_bytes(mail.content, policy=default).get_content().splitlines()

    stored = b"".join(one.read_bytes() for one in (tmp_path / "data").rglob("*") if one.is_file())
    for where in (*kept, caplog.text):
        assert token not in where
        assert "canary-key" not in where
    assert token.encode() not in stored
    assert b"canary-key" not in stored


async def test_a_key_file_that_holds_no_key_ends_the_start(bus: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("short\n")
    with pytest.raises(ValueError, match="at least 32 characters"):
        async with platform(bus, tmp_path, link_key_file=tmp_path / "keys"):
            pass
