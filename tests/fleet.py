"""The platform as five processes and a bus on this host, for bench and faults: started, killed, started again."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import SERVICES
from entresol_eventing.testing import make_streams
from entresol_eventing.testing.postgres import PostgresServer

from tests.forks import PLANTED, Process, await_end, fork_server

OWN_PORTS = range(15_000, 32_000)
READY_SECONDS = 60.0
END_SECONDS = 30.0


def free_port() -> int:
    """A port that stays free while its service is down: the system gives none of these to whoever wants any port."""
    while True:
        port = OWN_PORTS.start + secrets.randbelow(len(OWN_PORTS))
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


class Fleet:
    """Five services and a bus, each a process of its own that can be killed and started again.

    Services keep their state in SQLite, or with `postgres` each in a database of its own on that server. They are
    forked, so that a start takes a moment; with `forked=False` each is a Python of its own, as users have it.
    """

    def __init__(
        self,
        data: Path,
        settings: Mapping[str, str] | None = None,
        postgres: PostgresServer | None = None,
        *,
        forked: bool = True,
    ) -> None:
        self.data = data
        self.nats = NatsServer(data / "nats", [*SERVICES, "admin", "subscriber"])
        self.ports = {service: free_port() for service in SERVICES}
        self.token = "entresol_" + secrets.token_urlsafe(32)
        self.databases = {service: f"sqlite:///{data / service / service}.db" for service in SERVICES}
        """URL of each service's database."""
        self.planted: dict[str, str] = {}
        """Bugs of `tests.faults.planted` that services have from their next start on; forked ones only."""
        self._settings = dict(settings or {})
        self._postgres = postgres
        self._forked = forked
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> "Fleet":
        self.data.mkdir(parents=True, exist_ok=True)
        token = self.data / "token"
        token.touch(mode=0o600)
        token.write_text(self.token, encoding="ascii")
        if self._postgres is not None:
            name = secrets.token_hex(4)
            self.databases = {service: self._postgres.database(f"{service}_{name}") for service in SERVICES}
        try:
            self.nats.start()
            self.make_streams()
            for service in SERVICES:
                self.start(service)
            for service in SERVICES:
                self.await_ready(service)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_services()
        if self.nats.running:
            self.nats.signal(signal.SIGCONT)
        self.nats.stop()

    def stop_services(self) -> dict[str, int]:
        """End every service in order, all at once, while the bus stays; return their exit statuses.

        One that does not end in time is killed, which its status shows.
        """
        for process in self._processes.values():
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                os.kill(process.pid, signal.SIGTERM)
        statuses = {}
        for service, process in self._processes.items():
            try:
                statuses[service] = await_end(process, END_SECONDS)
            except TimeoutError:
                os.kill(process.pid, signal.SIGKILL)
                statuses[service] = await_end(process, END_SECONDS)
        return statuses

    def start(self, service: str, *, failpoint: str = "", environment: Mapping[str, str] | None = None) -> None:
        """Start a service and return at once; the failpoint and the environment are for this start only."""
        prefix = f"ENTRESOL_{service.upper()}_"
        own = {
            "DATA": str(self.data / service),
            "DATABASE_URL": self.databases[service],
            "NATS_URL": self.nats.url,
            "NATS_PASSWORD": self.nats.passwords[service],
            "PORT": str(self.ports[service]),
            "LOG_LEVEL": "WARNING",
            "FAILPOINT": failpoint,
        }
        if service == "intake":
            own["ADMIN_TOKEN_FILE"] = str(self.data / "token")
        if service == "provisioning":
            own |= {
                "REPOSITORIES_ROOT": str(self.data / "repositories"),
                "WORKSPACES_ROOT": str(self.data / "workspaces"),
                "ALLOW_LOCAL_REPOSITORIES": "true",
            }
        whole = {
            **os.environ,
            **{prefix + name: value for name, value in own.items()},
            **self._settings,
            PLANTED: self.planted.get(service, ""),
            **(environment or {}),
        }
        output = self.data / f"{service}.log"
        if self._forked:
            self._processes[service] = fork_server().start(f"entresol_{service}.app:main", whole, output)
            return
        with output.open("ab") as file:
            self._processes[service] = subprocess.Popen(
                [str(Path(sys.executable).with_name(f"entresol-{service}"))],
                env=whole,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        """The process of a service or the `bus`."""
        return self.nats.pid if name == "bus" else self._processes[name].pid

    def alive(self, service: str) -> bool:
        return self._processes[service].poll() is None

    def kill(self, name: str) -> None:
        """End a service or the `bus` as a crash would; return when it has ended."""
        if name == "bus":
            self.nats.kill()
            return
        if self.alive(name):
            os.kill(self.pid(name), signal.SIGKILL)
        self.await_end(name, END_SECONDS)

    def terminate(self, service: str) -> None:
        """Ask a service to end in order; `await_end` tells how it did."""
        os.kill(self.pid(service), signal.SIGTERM)

    def await_end(self, service: str, seconds: float) -> int:
        """Return the exit status of a service that is ending, negative for the signal that ended it.

        Raises TimeoutError if it does not end in time.
        """
        return await_end(self._processes[service], seconds)

    def start_again(self, name: str) -> None:
        """Start a service or the `bus` that has ended; return before a service is ready."""
        if name == "bus":
            self.nats.start()
        else:
            self.start(name)

    def revive(self) -> list[str]:
        """Start every service that has ended by itself, as a supervisor does; return which.

        On PostgreSQL a service may be refused because the server has not noticed yet that the one before it is gone.
        """
        ended = [service for service in self._processes if not self.alive(service)]
        for service in ended:
            self.start(service)
        return ended

    def wipe_bus(self) -> None:
        """Kill the bus and remove all that it has stored. Started again, it has no streams until `make_streams`."""
        self.nats.kill()
        shutil.rmtree(self.nats.data / "jetstream")

    def make_streams(self) -> None:
        asyncio.run(make_streams(self.nats))

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def await_ready(self, service: str, seconds: float = READY_SECONDS) -> None:
        """Return when the service says that it reads the log and publishes; raise RuntimeError with its last words."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url(service)}/health/ready", timeout=2).close()
                return
            if time.monotonic() > deadline or not self.alive(service):
                log = (self.data / f"{service}.log").read_text(encoding="utf-8")[-3000:]
                raise RuntimeError(f"{service} is not ready: {log}")
            time.sleep(0.02)

    def call(self, service: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Call a door; return the JSON answer. Raises urllib.error.HTTPError for a refusal."""
        request = urllib.request.Request(
            self.url(service) + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def cpu_seconds(self, name: str) -> float:
        """Processor time that the service (or the `bus`) has used since its start."""
        return _cpu_seconds(self.pid(name))

    def resident_mib(self, name: str) -> float:
        return resident_mib(self.pid(name))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no memory figure for {pid}")
