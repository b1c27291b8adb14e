"""The end of history, read once for everybody who follows it, however many they are.

A follower keeps nothing but its position: what it has missed it takes from here, or from the database if it fell
behind. So a slow client costs no memory and never delays another.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from entresol_eventing.commits import Wake
from entresol_eventing.service import Service
from sqlalchemy import ColumnElement
from sqlalchemy.exc import SQLAlchemyError

from entresol_catalog.store.reading import Entry, entries, last_position

log = logging.getLogger(__name__)

KEPT_EVENTS = 2000
KEPT_BYTES = 16 * 1024 * 1024
CHUNK = 200


class Tail:
    """Reads only while somebody follows. Used from the event loop only."""

    def __init__(self) -> None:
        self.closed = False
        self._end: int | None = None
        self._kept: list[Entry] = []
        """Without gaps, up to `_end`."""
        self._grown = asyncio.Event()
        self._followers = 0
        self._watched: dict[str, set[asyncio.Event]] = {}
        self._wake: Wake | None = None

    async def work(self, service: Service) -> None:
        """The worker that reads; followers end when the service is about to stop."""
        try:
            async with service.commits.subscribe() as wake:
                self._wake = wake
                while not service.stopping.is_set():
                    if self._followers == 0:
                        self._end, self._kept = None, []
                    elif await self._advance(service):
                        continue
                    await wake.wait(60)
        finally:
            self.closed = True
            self._announce(None)

    async def follow(
        self, service: Service, after: int, conditions: list[ColumnElement[bool]], every_seconds: float
    ) -> AsyncIterator[list[Entry]]:
        """Events behind a position in order; an empty list now and then, at least after `every_seconds` of silence.

        The conditions only spare reading from the database what is not wanted; the caller filters what it gets.
        """
        position = after
        with self._following():
            while not self.closed:
                grown = self._grown  # taken before looking, so that nothing slips in between
                seen = self._since(position)
                if seen is None:
                    seen = await service.read(entries(conditions, position, CHUNK))
                fresh, reached = seen
                moved, position = reached > position, reached
                if fresh:
                    yield fresh
                elif not moved:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(grown.wait(), every_seconds)
                    yield []

    @contextmanager
    def watching(self, request_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is something new about the request."""
        moved = asyncio.Event()
        self._watched.setdefault(request_id, set()).add(moved)
        try:
            with self._following():
                yield moved
        finally:
            watchers = self._watched[request_id]
            watchers.discard(moved)
            if not watchers:
                del self._watched[request_id]

    @contextmanager
    def _following(self) -> Iterator[None]:
        self._followers += 1
        if self._wake is not None:
            self._wake.set()
        try:
            yield
        finally:
            self._followers -= 1

    def _since(self, position: int) -> tuple[list[Entry], int] | None:
        """What was kept behind a position; None if the database has to be asked."""
        if self._end is None or position < (first := self._end - len(self._kept)):
            return None
        return self._kept[position - first :], max(position, self._end)

    async def _advance(self, service: Service) -> bool:
        """Read what is new; return whether there may be more at once."""
        if self._end is None:
            self._end = await service.read(last_position)
            self._announce(None)
            return True
        try:
            fresh, _ = await service.read(entries((), self._end, CHUNK))
        except SQLAlchemyError as error:
            log.warning("the end of history can't be read", extra={"reason": type(error).__name__})
            return False
        if fresh:
            self._kept += fresh
            self._end = fresh[-1].position
            size = sum(len(one.body) for one in self._kept)
            while len(self._kept) > KEPT_EVENTS or size > KEPT_BYTES:
                half = max(1, len(self._kept) // 2)
                size -= sum(len(one.body) for one in self._kept[:half])
                del self._kept[:half]
            self._announce(fresh)
        return len(fresh) == CHUNK

    def _announce(self, fresh: list[Entry] | None) -> None:
        """Wake the followers, and those who watch the requests concerned; everybody if that can't be told."""
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        named = None if fresh is None else {one.request_id for one in fresh}
        for request_id, watchers in self._watched.items():
            if named is None or request_id in named:
                for moved in watchers:
                    moved.set()
