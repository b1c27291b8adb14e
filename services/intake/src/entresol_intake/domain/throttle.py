"""A token bucket: so many per second in the long run, with a burst on top."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic


@dataclass(slots=True)
class Throttle:
    per_second: float
    burst: float
    clock: Callable[[], float] = monotonic
    _level: float = field(init=False)
    _seen_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._level = self.burst
        self._seen_at = self.clock()

    def admits(self) -> bool:
        """Whether there is room for one more; takes it."""
        at = self.clock()
        self._level = min(self.burst, self._level + (at - self._seen_at) * self.per_second)
        self._seen_at = at
        if self._level < 1:
            return False
        self._level -= 1
        return True
