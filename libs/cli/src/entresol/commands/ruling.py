"""Wait a moment for policy to rule on what was said; it rules on each statement once, by the id of its event."""

import time
from collections.abc import Callable
from typing import Any

from entresol.failures import Code, Failure

Document = dict[str, Any]

_MOMENT_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_COUNTS = ("answers", "withdrawn", "delegations")


def ruled(look: Callable[[], Document], event: str, what: str) -> Document | None:
    """The approval or request once it counts; None if policy has not ruled within a moment; raise Failure if not."""
    deadline = time.monotonic() + _MOMENT_SECONDS
    while True:
        item, late = look(), time.monotonic() > deadline
        for one in (*item.get("refused", ()), *item.get("overrides", ())):
            if one["event"] == event and (refusal := one.get("refused", one.get("reason"))):
                raise Failure(f"{what} does not count: {refusal}", Code.NOT_ALLOWED)
        counted = [one for name in _COUNTS for one in item.get(name, ())]
        counted += [one["answer"] for one in item.get("withdrawn", ()) if one.get("answer")]
        counted += [one for one in item.get("overrides", ()) if one["counts"]]
        if any(one["event"] == event for one in counted):
            return item
        if late:
            return None
        time.sleep(_LOOK_SECONDS)
