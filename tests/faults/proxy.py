"""A TCP proxy in front of a server of a test, which makes the network fail on demand.

It runs in a thread of its own. A fault is in force when the call that asks for it returns, and until `heal`; each
planned cut happens once. A connection passes its bytes on in order or not at all: one that lost some is cut by `heal`.
"""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")
PIECE_BYTES = 65_536
CALL_SECONDS = 30.0


class Towards(Enum):
    """One of the two ways of a connection."""

    SERVER = "server"
    CLIENT = "client"


class Proxy:
    """Passes connections to `port` on to a server on loopback, as well as the faults in force allow."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        """Where new connections are passed on to; may be changed at any time."""
        self.counts: Counter[str] = Counter()
        """What was done: connections `accepted`, `held` in silence and `cut`; `dropped` bytes; `delayed` pieces."""
        self._holder = _bound(0)  # never listens: it keeps the port ours while `refuse` is in force
        self.port: int = self._holder.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._delay_seconds = 0.0
        self._dropped: set[Towards] = set()
        self._cuts: dict[Towards, list[_Cut]] = {way: [] for way in Towards}

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._call(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()
        self._holder.close()

    def delay(self, seconds: float) -> None:
        """Let every piece of every connection wait so long, on both ways."""
        self._delay_seconds = seconds

    def drop(self, towards: Towards) -> None:
        """Lose every byte on this way; the other way works, and nobody is told."""
        self._dropped.add(towards)

    def silence(self) -> None:
        """Be half open: accept, say nothing, pass nothing on. What has come by then is passed on after `heal`."""
        self._call(self._hush)

    def refuse(self) -> None:
        """Cut every connection and refuse new ones."""
        self._call(self._shut)

    def cut(self) -> int:
        """Cut every connection that there is, and return how many; new ones are accepted."""
        return self._call(self._cut_all)

    def cut_after(self, count: int, towards: Towards) -> None:
        """Plan a cut behind the byte of that number, counted from now over all connections."""
        self._cuts[towards].append(_Cut(count=count))

    def cut_at(self, text: bytes, towards: Towards) -> None:
        """Plan a cut of the connection that carries this text, in front of the end of the text.

        Towards the client it comes after the server has said so and before the client learns it.
        """
        self._cuts[towards].append(_Cut(text=text))

    @property
    def planned(self) -> int:
        """Cuts that were planned and have not happened yet."""
        return sum(len(cuts) for cuts in self._cuts.values())

    def heal(self) -> None:
        """Work as if nothing had been; planned cuts are forgotten."""
        self._call(self._repair)

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(CALL_SECONDS)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, sock=_bound(self.port), backlog=256)

    async def _hush(self) -> None:
        self._speaks.clear()

    async def _shut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._cut_all()

    async def _repair(self) -> None:
        self._delay_seconds = 0.0
        self._dropped.clear()
        for cuts in self._cuts.values():
            cuts.clear()
        for link in self._links:
            if link.torn:
                link.cut()
        self._speaks.set()
        await self._listen()

    async def _close(self) -> None:
        await self._shut()
        links = asyncio.all_tasks() - {asyncio.current_task()}
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _cut_all(self) -> int:
        links = list(self._links)
        for link in links:
            link.cut()
        self.counts["cut"] += len(links)
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["accepted"] += 1
        link = _Link([writer])
        self._links.add(link)
        try:
            if not self._speaks.is_set():
                self.counts["held"] += 1
                await self._speaks.wait()
            answers, requests = await asyncio.open_connection("127.0.0.1", self.server_port)
            link.writers.append(requests)
            await asyncio.gather(
                self._pass_on(link, reader, requests, Towards.SERVER),
                self._pass_on(link, answers, writer, Towards.CLIENT),
            )
        except OSError:
            pass  # one end is gone, and so goes the other
        finally:
            link.cut()
            self._links.discard(link)

    async def _pass_on(
        self, link: "_Link", source: asyncio.StreamReader, sink: asyncio.StreamWriter, towards: Towards
    ) -> None:
        before = b""
        while piece := await source.read(PIECE_BYTES):
            if self._delay_seconds:
                self.counts["delayed"] += 1
                await asyncio.sleep(self._delay_seconds)
            await self._speaks.wait()
            if towards in self._dropped:
                self.counts["dropped"] += len(piece)
                link.torn = True
                continue
            if (passed := self._cut_in(before, piece, towards)) is not None:
                self.counts["cut"] += 1
                sink.write(piece[:passed])
                break
            sink.write(piece)
            before = piece[-1024:]
            await sink.drain()
        for writer in link.writers:
            writer.close()

    def _cut_in(self, before: bytes, piece: bytes, towards: Towards) -> int | None:
        """Return how much of the piece comes before the first planned cut in it; None if there is none."""
        for cut in list(self._cuts[towards]):
            if (place := cut.place(before, piece)) is not None:
                self._cuts[towards].remove(cut)
                return place
        return None


@dataclass(slots=True, eq=False)
class _Link:
    """One connection through the proxy."""

    writers: list[asyncio.StreamWriter]
    torn: bool = False
    """Whether it has lost bytes, so that nothing more may follow."""

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


@dataclass(slots=True, eq=False)
class _Cut:
    count: int = 0
    text: bytes = b""
    passed: int = field(default=0, init=False)

    def place(self, before: bytes, piece: bytes) -> int | None:
        if not self.text:
            self.passed += len(piece)
            return None if self.passed < self.count else len(piece) - (self.passed - self.count)
        known = before[-(len(self.text) - 1) :] if len(self.text) > 1 else b""
        found = (known + piece).find(self.text)
        return None if found < 0 else max(0, found - len(known))


def _bound(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    return one
