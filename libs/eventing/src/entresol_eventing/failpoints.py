"""Named places where a test of faults lets the process crash, fail or freeze. Nothing happens unless one is armed."""

import logging
import os
import re
import signal
import threading
from dataclasses import dataclass, field
from typing import Final

POINTS: Final = {
    "consumer.middle": "the consumer is deleted on the bus, and not made anew",
    "receive.before": "messages have arrived, and nothing was done with them",
    "commit.before": "a transaction is complete, and not committed",
    "commit.after": "a transaction is committed, and nobody knows",
    "publish.before": "events are committed, and not sent to the bus",
    "publish.after": "the bus has stored events, and nothing remembers it",
    "ack.before": "messages are committed, and not acknowledged",
    "ack.after": "messages are acknowledged",
    "effect.before": "a worker is about to touch the world",
    "effect.middle": "a driver has prepared its effect, and not brought it about",
    "effect.running": "a program that brings the effect about has been started, and goes on by itself",
    "effect.after": "a worker has touched the world, and nothing remembers it",
}
"""Every failpoint of the platform, so that a test can visit all of them, with what is true there."""


log = logging.getLogger(__name__)


class Injected(Exception):
    """The failure that an armed failpoint stands for."""


@dataclass(slots=True)
class _Armed:
    point: str
    visit: int
    action: str
    visits: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, point: str) -> None:
        if point != self.point:
            return
        with self.lock:
            self.visits += 1
            come = self.visits == self.visit
        if not come:
            return
        log.warning("a failpoint was reached", extra={"failpoint": point, "visit": self.visit, "action": self.action})
        if self.action == "fail":
            raise Injected(point)
        os.kill(os.getpid(), signal.SIGKILL if self.action == "crash" else signal.SIGSTOP)


_armed: _Armed | None = None


def arm(text: str) -> None:
    """Arm `point[@visit][=crash|fail|freeze]`: at that visit, counted from 1, once. Empty text disarms.

    Raises ValueError for what is no failpoint.
    """
    global _armed
    if not text:
        _armed = None
        return
    place, _, action = text.partition("=")
    point, at, visit = place.partition("@")
    if (
        point not in POINTS
        or action not in ("", "crash", "fail", "freeze")
        or (at and not re.fullmatch("[1-9][0-9]*", visit))
    ):
        raise ValueError(
            f"no such failpoint: {text}; there are {', '.join(POINTS)}, each with @visit and =crash, =fail or =freeze"
        )
    _armed = _Armed(point, int(visit or 1), action or "crash")


def failpoint(point: str) -> None:
    """Mark a place; costs one comparison unless something is armed."""
    if _armed is not None:
        _armed.reach(point)
