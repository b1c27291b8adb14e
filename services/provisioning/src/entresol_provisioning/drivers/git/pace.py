"""How fast rounds at a repository follow each other, and how large they are, so that others get on too."""

import random
import time

MOST = 256
"""Steps of one round."""
PATIENT = 4
"""Refusals in a row after which the next round takes half of the steps: it may be too late for being too long."""
HASTY = 10
"""Refusals in a row that are answered at once."""
REST_SECONDS = 0.2
"""What others, who have to fetch and push by themselves, are given between two rounds."""
OTHERS_SECONDS = 10.0
"""How long somebody who has moved a branch is expected to do it again."""


class Pace:
    """What the rounds so far say of the next one."""

    def __init__(self) -> None:
        self.most = MOST
        self.refusals = 0
        """In a row."""
        self._others_until = 0.0

    @property
    def expects_others(self) -> bool:
        return time.monotonic() <= self._others_until

    def meet_others(self) -> None:
        """Somebody else has moved a branch."""
        self._others_until = time.monotonic() + OTHERS_SECONDS

    def went(self, acting: int, *, refused: bool) -> None:
        """A round of so many steps is over."""
        self.refusals = self.refusals + 1 if refused else 0
        if not refused:
            self.most = min(MOST, 4 * self.most)
        elif self.refusals % PATIENT == 0:
            self.most = max(1, acting // 2)

    def rest_seconds(self, began: float) -> float:
        """How long nothing is tried after the round that began then, on the clock of `time.monotonic()`."""
        if self.refusals:
            return random.uniform(0, min(0.5, 0.01 * self.refusals)) if self.refusals > HASTY else 0.0
        return REST_SECONDS if began < self._others_until else 0.0
