"""What is known of calls besides what the API shows and the run has recorded.

Both books only ever make a step more careful: without them it takes a call to have been received, and what it finds to
be somebody else's.
"""

import hashlib
import math
import os
from collections import OrderedDict
from pathlib import Path

from entresol_provisioning.drivers import StepWork

REMEMBERED = 10_000


class Ledger:
    """By idempotency key: how often the effect was looked for in vain since the call was last made.

    Kept in memory on purpose: after a crash nothing is known, so everything may have been received.
    """

    def __init__(self) -> None:
        self._looks: OrderedDict[str, float] = OrderedDict()

    def sending(self, key: str) -> None:
        self._looks.pop(key, None)

    def not_sent(self, key: str) -> None:
        """The API has certainly not acted on the last call."""
        self._set(key, math.inf)

    def looked(self, key: str) -> float:
        """Count a look that found nothing; return how many there were, infinite if nothing was sent."""
        self._set(key, self._looks.get(key, 0) + 1)
        return self._looks[key]

    def may_have_been_received(self, key: str) -> bool:
        return self._looks.get(key, 0) != math.inf

    def _set(self, key: str, looks: float) -> None:
        self._looks[key] = looks
        self._looks.move_to_end(key)
        while len(self._looks) > REMEMBERED:
            self._looks.popitem(last=False)


class Marks:
    """For which steps of which resources a call was made that has not been recorded as done yet.

    It tells what a failed creation has made from what somebody else had under the same name, which is never touched.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, work: StepWork) -> bool:
        return self._place(work).exists()

    def put(self, work: StepWork) -> None:
        """On disk when it returns."""
        place = self._place(work)
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.touch(mode=0o600)
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def drop(self, work: StepWork) -> None:
        self._place(work).unlink(missing_ok=True)

    def _place(self, work: StepWork) -> Path:
        return self._root / hashlib.sha256(f"{work.resource_id}#{work.step}".encode()).hexdigest()
