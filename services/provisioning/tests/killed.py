"""Provisioning in a process of its own, which is killed at a place that has a name."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from entresol_provisioning.settings import Settings

from tests.forks import Process, await_end, fork_server

END_SECONDS = 20.0


@dataclass
class Killed:
    """A service that dies once, at the point, and is started again; any other end fails the test."""

    settings: Settings
    process: Process
    crashed: bool = False

    def look(self) -> None:
        """Start it again if it has died."""
        status = self.process.poll()
        if status is not None:
            assert (status, self.crashed) == (-signal.SIGKILL, False)
            self.crashed = True
            self.process = start(self.settings)


@contextmanager
def killed_at(point: str, settings: Settings) -> Iterator[Killed]:
    """The service with the test's environment, on these settings; ended at exit."""
    service = Killed(settings, start(settings, point))
    try:
        yield service
    finally:
        if service.process.poll() is None:
            os.kill(service.process.pid, signal.SIGKILL)
            await_end(service.process, END_SECONDS)


def start(settings: Settings, point: str = "") -> Process:
    environment = os.environ | {
        "ENTRESOL_PROVISIONING_DATA": str(settings.data),
        "ENTRESOL_PROVISIONING_NATS_URL": settings.nats_url,
        "ENTRESOL_PROVISIONING_PORT": "0",
        "ENTRESOL_PROVISIONING_LOG_LEVEL": "ERROR",
        "ENTRESOL_PROVISIONING_FAILPOINT": point,
        "ENTRESOL_PROVISIONING_BATCH_SIZE": "1",
    }
    output = settings.data.with_name("provisioning.log")
    return fork_server().start("entresol_provisioning.app:main", environment, output)
