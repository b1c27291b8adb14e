"""The platform as five processes and a bus on this host, for bench and faults: started, killed, started again."""

import asyncio
import contextlib
import json
import os
import secrets
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

READY_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Fleet:
    """Five services and a bus, each a process of its own that can be killed and started again."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.nats = NatsServer(data / "nats", [*SERVICES, "admin", "subscriber"])
        self.ports = {service: free_port() for service in SERVICES}
        self.token = "entresol_" + secrets.token_urlsafe(32)
        self._settings = dict(settings or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Fleet":
        self.data.mkdir(parents=True, exist_ok=True)
        token = self.data / "token"
        token.touch(mode=0o600)
        token.write_text(self.token, encoding="ascii")
        self.nats.start()
        asyncio.run(make_streams(self.nats))
        for service in SERVICES:
            self.start(service)
        for service in SERVICES:
            self.await_ready(service)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
        self.nats.stop()

    def start(self, service: str) -> None:
        prefix = f"ENTRESOL_{service.upper()}_"
        own = {
            "DATA": str(self.data / service),
            "NATS_URL": self.nats.url,
            "NATS_PASSWORD": self.nats.passwords[service],
            "PORT": str(self.ports[service]),
            "LOG_LEVEL": "WARNING",
        }
        if service == "intake":
            own["ADMIN_TOKEN_FILE"] = str(self.data / "token")
        if service == "provisioning":
            own |= {
                "REPOSITORIES_ROOT": str(self.data / "repositories"),
                "WORKSPACES_ROOT": str(self.data / "workspaces"),
                "ALLOW_LOCAL_REPOSITORIES": "true",
            }
        environment = {**os.environ, **{prefix + name: value for name, value in own.items()}, **self._settings}
        with (self.data / f"{service}.log").open("ab") as output:
            self._processes[service] = subprocess.Popen(
                [str(Path(sys.executable).with_name(f"entresol-{service}"))],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def pid(self, service: str) -> int:
        return self._processes[service].pid

    def kill(self, name: str) -> None:
        """End a service or the `bus` as a crash would."""
        if name == "bus":
            self.nats.kill()
            return
        os.kill(self.pid(name), signal.SIGKILL)
        self._processes[name].wait()

    def start_again(self, name: str) -> None:
        if name == "bus":
            self.nats.start()
        else:
            self.start(name)

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def await_ready(self, service: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url(service)}/health/ready", timeout=2).close()
                return
            if time.monotonic() > deadline or self._processes[service].poll() is not None:
                log = (self.data / f"{service}.log").read_text(encoding="utf-8")[-3000:]
                raise RuntimeError(f"{service} is not ready: {log}")
            time.sleep(0.05)

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

    def cpu_seconds(self, service: str) -> float:
        """Processor time that the service (or the `bus`) has used since its start."""
        return _cpu_seconds(self.nats.pid if service == "bus" else self.pid(service))

    def resident_mib(self, service: str) -> float:
        return resident_mib(self.nats.pid if service == "bus" else self.pid(service))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no memory figure for {pid}")
