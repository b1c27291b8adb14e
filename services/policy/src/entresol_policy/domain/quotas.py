"""How much of something there may be, and how much of it there is.

- What a request was allowed counts from that moment on, so requests at the same time can't both have the last piece.
- Where a resource has an amount and a request that was allowed for it another, the larger one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ALL = ""
"""The share of a quota that has only one."""


@dataclass(frozen=True, slots=True)
class Quota:
    """A quota in force."""

    name: str
    when: str | None
    per: str | None
    sum: str | None
    """None: each resource counts 1."""
    limit: float
    because: str | None
    unusable: str | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """What one resource counts in a quota, and whose share that is."""

    per: str
    amount: float


@dataclass(frozen=True, slots=True)
class Use:
    """A quota, with what there is already and what the request adds to it."""

    quota: str
    per: str
    used: float
    asked: float
    limit: float
    because: str | None
    uncounted: Sequence[str] = ()
    """Why the quota can't say: what could not be counted."""
    waived_by: str | None = None

    @property
    def exceeded(self) -> bool:
        return self.used + self.asked > self.limit and self.asked > 0

    @property
    def denial(self) -> str | None:
        """Why the request is denied, for the person who asked; None if it is not."""
        if self.waived_by is not None:
            return None
        if self.uncounted:
            return f"quota {self.quota} can't be counted: {self.uncounted[0]}"
        if not self.exceeded:
            return None
        whose = f" for {self.per}" if self.per else ""
        reason = f": {self.because}" if self.because else ""
        return (
            f"quota {self.quota}{whose}: {number(self.used)} of {number(self.limit)} used, "
            f"{number(self.asked)} asked{reason}"
        )


def number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"
