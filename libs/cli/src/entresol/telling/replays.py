"""Run drafts of policies over the past requests on the log, and show what would have been decided otherwise."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from entresol_policy.domain.judging import Policy
from entresol_policy.evaluation import Evaluator
from entresol_policy.trying.past import CATALOG, INPUTS, WAIVERS
from entresol_policy.trying.replaying import REQUESTS, Change, Replay
from rich.console import RenderableType
from rich.text import Text

from entresol.doors.past import every
from entresol.terminal import clean, local, moment, short, state, table

if TYPE_CHECKING:
    from entresol.doors.client import Client

REMARK_EVERY_SECONDS = 5.0


class Course:
    """One replay. `run` it to its end; then it knows the totals and the latest changes."""

    def __init__(self, drafts: Sequence[Policy], since: datetime) -> None:
        self.since = since
        self.changes: Sequence[Change] = ()
        """The latest, newest first."""
        self.seconds = 0.0
        self._drafts = drafts
        self._replay = Replay(drafts, Evaluator(), since)
        self.totals = self._replay.totals

    def run(self, client: "Client", project: str | None, keep: int) -> Iterator[str]:
        """Read and judge; yield a remark now and then about how far it is."""
        begun = remarked = time.monotonic()
        kept: deque[Change] = deque(maxlen=keep)
        background = [*WAIVERS]
        if _reads(self._drafts, "catalog", "owner:"):
            background += CATALOG
        if _reads(self._drafts, "inputs"):
            background += INPUTS
        for event in every(client, background, REQUESTS, self.since, project):
            if change := self._replay.hear(event):
                kept.append(change)
            now = time.monotonic()
            if now - remarked >= REMARK_EVERY_SECONDS:
                remarked = now
                changed = self.totals.changed.total()
                yield f"{self.totals.requests:,} requests until {local(event['time'])}, {changed:,} would change"
        kept.extend(self._replay.finish())
        self.changes = sorted(kept, key=lambda one: one.at, reverse=True)
        self.seconds = time.monotonic() - begun

    def document(self) -> dict[str, Any]:
        totals = self.totals
        return {
            "since": self.since.isoformat(),
            "earliest": totals.earliest and totals.earliest.isoformat(),
            "requests": totals.requests,
            "unchanged": totals.unchanged,
            "changed": [
                {"was": was, "would_be": would_be, "count": count}
                for (was, would_be), count in totals.changed.most_common()
            ],
            "errors": totals.errors,
            "unreadable": totals.unreadable,
            "seconds": round(self.seconds, 3),
            "changes": [
                {
                    "request": one.request,
                    "at": one.at.isoformat(),
                    "resource": one.resource,
                    "actor": one.actor,
                    "was": one.was,
                    "would_be": one.would_be,
                    "because": list(one.because),
                }
                for one in self.changes
            ],
        }


def drawn(course: Course) -> Iterator[RenderableType]:
    """The totals, and a row for each change that was kept."""
    totals = course.totals
    first = f", the first from {moment(totals.earliest.isoformat())}" if totals.earliest else ""
    rows: list[tuple[object, ...]] = [(f"{totals.requests:,}", f"requests looked at{first}")]
    rows += [(f"{totals.unchanged:,}", "would be decided as they were")]
    rows += [
        (f"{count:,}", Text.assemble(state(was), " → ", state(would_be)))
        for (was, would_be), count in totals.changed.most_common()
    ]
    if totals.errors:
        rows.append((f"{totals.errors:,}", Text("for which a rule of the draft can't be evaluated", style="red")))
    if totals.unreadable:
        rows.append((f"{totals.unreadable:,}", "left out: what was recorded can't be read"))
    yield table("", "", rows=rows)
    if not course.changes:
        return
    yield ""
    yield table(
        "request",
        "decided",
        "resource",
        "asked by",
        "was → would be",
        "because",
        rows=[_row(one) for one in course.changes],
    )
    if (more := totals.changed.total() - len(course.changes)) > 0:
        yield Text(f"and {more:,} more; --limit shows them", style="dim")


def _row(one: Change) -> tuple[object, ...]:
    change = Text.assemble(state(one.was), " → ", state(one.would_be))
    return (
        short(one.request),
        moment(one.at.isoformat()),
        one.resource,
        one.actor,
        change,
        clean("; ".join(one.because)),
    )


def _reads(drafts: Sequence[Policy], *words: str) -> bool:
    """Whether a rule may name one of these; else there is no need to read what it is about."""
    return any(word in repr(draft) for draft in drafts for word in words)
