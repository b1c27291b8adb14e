"""The whole platform in one process: a nats-server as its child, five services, one HTTP server in front.

Guarantees:
- Everything it keeps lies in the data directory; a restart on the same directory goes on where the last one ended.
- A bus that dies is started again on the same port; the services wait for it and lose nothing.
- A bus that comes back without its log is refilled from the services' databases.
- `stop` closes the doors first, lets the services finish, and ends the bus last.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
from entresol_eventing.access import new_token
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer, end_orphans
from entresol_eventing.permissions import SERVICES
from entresol_eventing.run import Server, server
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import Unusable
from entresol_eventing.streams import bootstrap
from entresol_eventing.telemetry import Telemetry

from entresol.embedded.front import front
from entresol.embedded.recovery import restore
from entresol.failures import Code, Failure

log = logging.getLogger(__name__)

READY_SECONDS = 30.0
_GUESTS = ("subscriber", "ingest")
"""NATS users for others than the services: one reads the log, one publishes from outside."""


class Platform:
    """A platform on a data directory. `start` it, use `url`, `stop` it; all on one event loop."""

    def __init__(self, data: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.data = data
        self.bus = NatsServer(data / "nats", [*SERVICES, *_GUESTS, "admin"])
        self.services: dict[str, Service] = {}
        self._socket = _listen(host, port)
        self._http: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._guarding: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        host, port = self._socket.getsockname()[:2]
        return f"http://{host}:{port}"

    @property
    def token_file(self) -> Path:
        return self.data / "token"

    @property
    def link_key_file(self) -> Path:
        """Signs the links by which people answer approvals."""
        return self.data / "link-keys"

    async def start(self) -> None:
        """Return when every service reads the log and the doors are open; raise Failure if that can't be."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.token_file.exists():
            _write_secret(self.token_file, new_token() + "\n")
        if not self.link_key_file.exists():
            _write_secret(self.link_key_file, secrets.token_urlsafe(32) + "\n")
        try:
            await self._start()
        except Unusable as error:
            await self.stop()
            hint = (
                "Run the version of Entresol that has written it, put its backup there, or choose another --data "
                "directory. docs/recovery.md tells what can be rebuilt from the log."
            )
            raise Failure(str(error), Code.ENDED_BADLY, hints=(hint,)) from None
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        await asyncio.to_thread(end_orphans, self.data / "nats")
        starting = asyncio.create_task(asyncio.to_thread(self.bus.start))
        creators = await asyncio.to_thread(_creators)
        await starting
        _write_secret(self.data / "bus.json", json.dumps(self._bus_document(), indent=2))
        telemetry = Telemetry()
        built = {name: create(self._settings(name), telemetry) for name, create in creators.items()}
        await self._make_streams()
        self.services = built
        outcomes = await asyncio.gather(*(service.start() for service in built.values()), return_exceptions=True)
        if failed := [one for one in outcomes if one is not None]:
            raise failed[0]
        await self._ready()
        await self._admitted()
        self._guarding = asyncio.create_task(self._guard_bus(), name="bus-guard")
        self._http = server(front(self.services), "127.0.0.1", 0)
        self._serving = asyncio.create_task(self._http.serve(sockets=[self._socket]), name="http")
        while not self._http.started and not self._serving.done():  # noqa: ASYNC110 uvicorn has no event for it
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Drain: the doors, then the services, then the bus. Safe to call after a failed start."""
        for service in self.services.values():
            service.announce_stop()
        if self._http is not None and self._serving is not None:
            self._http.should_exit = True
            await self._serving
        self._socket.close()
        if self._guarding is not None:
            self._guarding.cancel()
            await asyncio.gather(self._guarding, return_exceptions=True)
        outcomes = await asyncio.gather(*(one.stop() for one in self.services.values()), return_exceptions=True)
        for name, outcome in zip(self.services, outcomes, strict=True):
            if isinstance(outcome, Exception):
                log.error("a service did not stop in order", extra={"service": name}, exc_info=outcome)
        await asyncio.to_thread(self.bus.stop)
        (self.data / "bus.json").unlink(missing_ok=True)

    def _settings(self, name: str) -> Mapping[str, Any]:
        return {
            "data": self.data / name,
            "nats_url": self.bus.url,
            "nats_user": name,
            "nats_password": self.bus.passwords[name],
            **self._own_settings(name),
        }

    def _own_settings(self, service: str) -> Mapping[str, Any]:
        match service:
            case "intake":
                return {"admin_token_file": self.token_file, "link_key_file": self.link_key_file}
            case "provisioning":
                return {
                    "repositories_root": self.data / "repositories",
                    "workspaces_root": self.data / "workspaces",
                    "allow_local_repositories": True,
                }
            case "notification":
                return {"allow_loopback": True, "link_key_file": self.link_key_file, "public_url": self.url}
            case _:
                return {}

    def _bus_document(self) -> dict[str, Any]:
        return {"url": self.bus.url, "users": {guest: self.bus.passwords[guest] for guest in _GUESTS}}

    async def _make_streams(self) -> None:
        """Make what is missing; a log that the bus has lost is refilled before anything is published into it."""
        settings = RuntimeSettings.model_validate(
            {"nats_url": self.bus.url, "nats_password": self.bus.passwords["admin"]}
        )
        connection = await connect(settings, "admin", "bootstrap")
        try:
            await bootstrap(connection)
            await restore(connection, self.data)
        finally:
            await connection.close()

    async def _ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            unready = [f"{name}: {', '.join(_problems(one))}" for name, one in self.services.items() if _problems(one)]
            if not unready:
                return
            if time.monotonic() > deadline:
                raise Failure("not every service became ready", Code.TIMED_OUT, hints=unready)
            await asyncio.sleep(0.005)

    async def _admitted(self) -> None:
        """Return when the catalog knows the first token: it learns of it by the log, a moment after intake."""
        headers = {"Authorization": f"Bearer {self.token_file.read_text(encoding='ascii').strip()}"}
        door = httpx.ASGITransport(app=self.services["catalog"].http)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=door, base_url="http://catalog", headers=headers) as client:
            deadline = time.monotonic() + READY_SECONDS
            while (await client.get("/v1/blueprints", params={"limit": 1})).status_code != httpx.codes.OK:
                if time.monotonic() > deadline:
                    raise Failure("the catalog does not admit the platform's own token", Code.TIMED_OUT)
                await asyncio.sleep(0.005)

    async def _guard_bus(self) -> None:
        whole = True
        while True:
            await asyncio.sleep(0.25)
            if whole and self.bus.running:
                continue
            with contextlib.suppress(Exception):
                whole = False
                if not self.bus.running:
                    log.error("the nats-server has ended; starting it again")
                    await asyncio.to_thread(self.bus.start)
                await self._make_streams()
                whole = True


def _problems(service: Service) -> list[str]:
    return list(service.health()["problems"])


def _creators() -> dict[str, Callable[[Mapping[str, Any], Telemetry], Service]]:
    def creator(module: Any) -> Callable[[Mapping[str, Any], Telemetry], Service]:
        return lambda values, telemetry: module.create(module.Settings(**values), telemetry)

    return {name: creator(import_module(f"entresol_{name}.app")) for name in SERVICES}


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = "Choose another with --port; 0 takes a free one."
        raise Failure(
            f"port {port} of {host} can't be had: {error.strerror}", Code.ENDED_BADLY, hints=(hint,)
        ) from None
    return listener


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
