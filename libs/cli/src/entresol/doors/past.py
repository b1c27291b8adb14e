"""Read what has happened since a time, for the commands that look back."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entresol.doors.client import Client

Document = Mapping[str, Any]

MARGIN = timedelta(hours=1)
"""Services may have clocks of their own, so times on the log rise only roughly."""
FARTHEST = 2**62


def position_of(client: "Client", since: datetime) -> int:
    """A position on the log behind which everything since then lies; found in some sixty short questions at most."""
    wanted = since - MARGIN
    low, high = 0, 1
    while high < FARTHEST and _is_earlier(client, high, wanted):
        low, high = high, high * 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_earlier(client, middle, wanted) else (low, middle)
    return low


def merged(*histories: Iterator[Document]) -> Iterator[Document]:
    """Events of several histories in the order of the log, held one page each."""
    return heapq.merge(*histories, key=lambda event: int(event["position"]))


def every(
    client: "Client", background: Sequence[str], foreground: Sequence[str], since: datetime, project: str | None
) -> Iterator[Document]:
    """Events of the first types from the log's beginning, and of the others since a time and of one project."""
    return merged(
        client.history(type=list(background)),
        client.history(type=list(foreground), after=position_of(client, since), project=project),
    )


def _is_earlier(client: "Client", position: int, wanted: datetime) -> bool:
    """Whether the first event behind the position is earlier; False behind the end."""
    first = next(client.history(after=position, most=1), None)
    return first is not None and datetime.fromisoformat(first["time"]) < wanted
