"""The users of the deployed nats-servers may do what the platform says, and the real server agrees."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats.errors
import pytest
from entresol_eventing.nats_server import executable
from entresol_eventing.permissions import SERVICES, inbox_prefix
from nats.aio.client import Client

from tests.deploy import manifests

USERS = (*SERVICES, "ingest", "subscriber", "admin")
ENVIRONMENT = {
    **{f"NATS_{user.upper()}_PASSWORD": f"p-{user}" for user in (*USERS, "route")},
    "NATS_SERVER_NAME": "one",
    "POD_NAME": "nats-0",
    "NATS_ROUTES": '["nats://route:pRoute@nats-2:6222", "nats://route:pRoute@nats-3:6222"]',
}
CONFIGURATIONS = {
    "compose": manifests.COMPOSE / "nats/nats.conf",
    "compose, cluster": manifests.COMPOSE / "nats/nats-cluster.conf",
    "kubernetes": manifests.KUBERNETES / "base/nats/nats.conf",
    "kubernetes, production": manifests.KUBERNETES / "overlays/production/nats-cluster.conf",
}


def test_users_are_what_the_permissions_say() -> None:
    command = [sys.executable, str(manifests.COMPOSE / "nats/users.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def mounted(configuration: Path, folder: Path) -> Path:
    """The configuration beside what it includes, as the ConfigMap or the mount lays it out."""
    for source in (configuration.parent, manifests.KUBERNETES / "base/nats"):
        for name in ("nats.conf", "users.conf"):
            if (source / name).exists() and not (folder / name).exists():
                (folder / name).write_text((source / name).read_text(encoding="utf-8"), encoding="utf-8")
    target = folder / configuration.name
    target.write_text(configuration.read_text(encoding="utf-8"), encoding="utf-8")
    return target


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_the_server_accepts_the_configuration(case: str, tmp_path: Path) -> None:
    command = [executable(), "-t", "-c", str(mounted(CONFIGURATIONS[case], tmp_path))]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | ENVIRONMENT)
    assert tried.returncode == 0, tried.stderr


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_every_publish_is_on_the_disk_before_it_is_acknowledged(case: str) -> None:
    text = CONFIGURATIONS[case].read_text(encoding="utf-8")
    assert "sync_interval: always" in text or "include nats.conf" in text
    if "cluster" in CONFIGURATIONS[case].name:
        assert "cluster {" in text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """URL of a server with the configuration of compose/; only its ports and its directory are others."""
    config = mounted(CONFIGURATIONS["compose"], tmp_path)
    text = config.read_text(encoding="utf-8")
    for wanted, instead in (("http_port: 8222\n", ""), ("store_dir: /data", f'store_dir: "{tmp_path / "data"}"')):
        assert wanted in text
        text = text.replace(wanted, instead)
    config.write_text(text, encoding="utf-8")
    command = [executable(), "-c", str(config), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(tmp_path)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | ENVIRONMENT)
    try:
        yield ready_url(process, tmp_path)
    finally:
        process.terminate()
        process.wait(10)


def ready_url(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    ports = folder / f"nats-server_{process.pid}.ports"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        with contextlib.suppress(OSError, ValueError):
            url: str = json.loads(ports.read_text(encoding="utf-8"))["nats"][0]
            return url
        time.sleep(0.01)
    raise AssertionError("the server was not ready within 10 s")


@contextlib.asynccontextmanager
async def connected(url: str, user: str, errors: list[str], password: str | None = None) -> AsyncIterator[Client]:
    async def note(error: Exception) -> None:
        errors.append(str(error))

    connection = Client()
    try:
        await connection.connect(
            url,
            user=user,
            password=password or ENVIRONMENT[f"NATS_{user.upper()}_PASSWORD"],
            inbox_prefix=inbox_prefix(user),
            error_cb=note,
            allow_reconnect=False,
        )
        yield connection
    finally:
        await connection.close()


async def refused(connection: Client, errors: list[str], subject: str) -> bool:
    """Whether publishing there is denied; the server says so only in an error after the fact."""
    errors.clear()
    await connection.publish(subject, b"{}")
    return await denied(connection, errors)


async def denied(connection: Client, errors: list[str]) -> bool:
    """Whether the server objected to what was sent. The client's ping overtakes what it has buffered: so two."""
    await connection.flush()
    await connection.flush()
    return any("permissions violation" in error.lower() for error in errors)


def bootstrap(url: str, user: str = "admin") -> "subprocess.CompletedProcess[str]":
    variables = {
        "ENTRESOL_STREAMS_NATS_URL": url,
        "ENTRESOL_STREAMS_NATS_USER": user,
        "ENTRESOL_STREAMS_NATS_PASSWORD": ENVIRONMENT[f"NATS_{user.upper()}_PASSWORD"],
        "ENTRESOL_STREAMS_MAX_BYTES": "100000000",
    }
    command = [sys.executable, str(manifests.COMPOSE / "image/bootstrap.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables, timeout=60)


async def test_the_bootstrap_makes_the_streams_and_can_be_repeated(server: str) -> None:
    for _ in range(2):
        made = await asyncio.to_thread(bootstrap, server)
        assert made.returncode == 0, made.stderr
    async with connected(server, "admin", []) as connection:
        streams = {one.config.name: one.config for one in await connection.jetstream().streams_info()}
    assert streams.keys() == {"EVENTS", "INGEST"}
    assert streams["EVENTS"].max_bytes == 100_000_000


@pytest.mark.parametrize("user", SERVICES)
async def test_a_service_publishes_its_own_subjects_only(server: str, user: str) -> None:
    errors: list[str] = []
    async with connected(server, user, errors) as connection:
        assert not await refused(connection, errors, f"entresol.{user}.request.allowed.x")
        for other in (*(set(SERVICES) - {user}), "ingest.somewhere"):
            assert await refused(connection, errors, f"entresol.{other}.request.allowed.x"), other


@pytest.mark.parametrize("user", [*SERVICES, "ingest", "subscriber"])
async def test_only_the_administrator_administers_streams(server: str, user: str) -> None:
    errors: list[str] = []
    async with connected(server, user, errors) as connection:
        for call in ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE"):
            assert await refused(connection, errors, f"$JS.API.{call}.EVENTS"), call


@pytest.mark.parametrize("user", [*SERVICES, "ingest", "subscriber"])
async def test_nobody_listens_to_the_answers_of_another(server: str, user: str) -> None:
    errors: list[str] = []
    async with connected(server, user, errors) as connection:
        for subject in ("_INBOX.>", f"{inbox_prefix('admin')}.>", "entresol.>", ">"):
            errors.clear()
            await connection.subscribe(subject)
            assert await denied(connection, errors), subject


async def test_those_outside_publish_to_ingest_only(server: str) -> None:
    errors: list[str] = []
    async with connected(server, "ingest", errors) as connection:
        assert not await refused(connection, errors, "entresol.ingest.shop.ordered")
        assert await refused(connection, errors, "entresol.intake.request.submitted.x")


async def test_a_subscriber_publishes_nothing_and_leaves_the_services_consumers_alone(server: str) -> None:
    errors: list[str] = []
    async with connected(server, "subscriber", errors) as connection:
        assert await refused(connection, errors, "entresol.ingest.shop.ordered")
        assert await refused(connection, errors, "entresol.intake.request.submitted.x")
        for service in SERVICES:
            assert await refused(connection, errors, f"$JS.API.CONSUMER.DELETE.EVENTS.{service}")
            assert await refused(connection, errors, f"$JS.API.CONSUMER.MSG.NEXT.EVENTS.{service}")


async def test_a_wrong_password_is_refused(server: str) -> None:
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        async with connected(server, "admin", [], password="guess"):
            pass
