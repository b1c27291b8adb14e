"""Sees requests end: the terminal facts, as the bus delivers them once they are stored.

A plain subscription would show a fact when its publisher sends it, before the bus has it on disk. So this is a
consumer of the stream, read by hand: a client library's work per message would be a good part of what is measured.
"""

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import nats
from entresol_eventing.permissions import EVENTS
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

SUBJECT = "entresol.catalog.request.completed.*"
ABANDONED_SECONDS = 30.0
"""After which the bus forgets a consumer that nobody listens to any more."""


class Ends(asyncio.Protocol):
    """Calls `ended` with the id of each request whose terminal fact is stored from `listen` on."""

    def __init__(self, url: str, user: str, password: str, ended: Callable[[str], None]) -> None:
        self._url, self._user, self._password = url, user, password
        self._ended = ended
        self._inbox = f"_INBOX_{user}.{secrets.token_hex(8)}"
        self._arrived = b""
        self._listening: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    async def listen(self) -> None:
        """Return when no end can be missed any more."""
        loop = asyncio.get_running_loop()
        self._listening = loop.create_future()
        where = urlsplit(self._url)
        await loop.create_connection(lambda: self, where.hostname or "", where.port or 4222)
        await asyncio.wait_for(self._listening, 10)
        admin = await nats.connect(self._url, user=self._user, password=self._password)
        config = ConsumerConfig(
            filter_subject=SUBJECT,
            deliver_subject=self._inbox,
            deliver_policy=DeliverPolicy.NEW,
            ack_policy=AckPolicy.NONE,
            headers_only=True,
            mem_storage=True,
            inactive_threshold=ABANDONED_SECONDS,
        )
        await admin.jetstream().add_consumer(EVENTS, config)
        await admin.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        login = {"user": self._user, "pass": self._password, "headers": True, "verbose": False, "pedantic": False}
        self._transport.write(f"CONNECT {json.dumps(login)}\r\nSUB {self._inbox} 1\r\nPING\r\n".encode())

    def data_received(self, data: bytes) -> None:
        arrived = self._arrived + data
        at = 0
        while (end := arrived.find(b"\r\n", at)) >= 0:
            line = arrived[at:end]
            if line.startswith((b"HMSG ", b"MSG ")):
                fields = line.split(b" ")
                after = end + 2 + int(fields[-1]) + 2
                if after > len(arrived):
                    break
                self._ended(fields[1].rsplit(b".", 1)[1].decode())
                at = after
                continue
            self._control(line)
            at = end + 2
        self._arrived = arrived[at:]

    def _control(self, line: bytes) -> None:
        assert self._transport is not None
        assert self._listening is not None
        if line == b"PING":
            self._transport.write(b"PONG\r\n")
        elif line == b"PONG" and not self._listening.done():
            self._listening.set_result(None)
        elif line.startswith(b"-ERR") and not self._listening.done():
            self._listening.set_exception(ConnectionError(line.decode()))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
