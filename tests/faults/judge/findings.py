"""What a judge can find."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

LOST: Final = "lost"
"""Promised, and not there: an accepted request, an answer, an effect, a notice."""
STUCK: Final = "stuck"
"""Has not ended: a request without an end, a message that is parked."""
DOUBLED: Final = "doubled"
"""There twice: an end, a run, an effect, an answer to one idempotency key."""
DISORDERED: Final = "disordered"
"""In another order than it happened: overtaken events, effects before causes, states that went back."""
UNEXPLAINED: Final = "unexplained"
"""There, and nobody caused it: an event of no outbox, an effect of no request."""
INCONSISTENT: Final = "inconsistent"
"""Two books that don't agree: outbox and log, log and inbox, log and projection."""
CONTRADICTED: Final = "contradicted"
"""A client was told something else than what is so in the end."""

OVERSTEPPED: Final = "overstepped"
"""More than there may be, or before it may be: past a quota, a lock, or people who had not agreed."""

KINDS: Final = (LOST, STUCK, DOUBLED, DISORDERED, UNEXPLAINED, INCONSISTENT, CONTRADICTED, OVERSTEPPED)


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


Findings: TypeAlias = Iterator[Finding]
