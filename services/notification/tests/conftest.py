"""Receivers of every kind: one that takes notices, a dozen that misbehave, and a mail server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Received:
    """One request as it came by the wire."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server on loopback that answers as it was told to."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/top-secret-path"


Answer: TypeAlias = Callable[[Receiver, asyncio.StreamWriter], Awaitable[None]]
MakeReceiver: TypeAlias = Callable[[str], Awaitable[Receiver]]


def plain(status: str, *headers: str, body: bytes = b"") -> Answer:
    async def answer(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return answer


async def slow(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def dripping(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    """A byte now and then: no single read takes long."""
    for character in b"HTTP/1.1 200 OK\r\nx-long: " + b"a" * 1000:
        writer.write(bytes([character]))
        await writer.drain()
        await asyncio.sleep(0.1)


async def dropping(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def garbage(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff\xfe SSH-2.0 what?\r\n\r\n" * 100)
    await writer.drain()


async def endless_body(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()


async def endless_headers(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x-more: " + b"x" * 8000 + b"\r\n")
            await writer.drain()


async def broken_body(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
    await writer.drain()


async def once_in_three(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    good = len(receiver.received) % 3 == 0
    await plain("200 OK" if good else "503 Later")(receiver, writer)


BEHAVIOURS: dict[str, Answer] = {
    "good": plain("200 OK", body=b"ok"),
    "empty": plain("204 No Content"),
    "refusing": plain("400 Bad Request", body=b"secret-of-the-receiver"),
    "slack-error": plain("404 Not Found", body=b"channel_is_archived"),
    "broken": plain("500 Broken"),
    "gone": plain("410 Gone"),
    "busy": plain("429 Slow Down", "retry-after: 3600"),
    "redirecting": plain("302 Found", "location: http://169.254.169.254/latest/meta-data"),
    "slow": slow,
    "dripping": dripping,
    "dropping": dropping,
    "garbage": garbage,
    "endless-body": endless_body,
    "endless-headers": endless_headers,
    "broken-body": broken_body,
    "once-in-three": once_in_three,
}


@pytest.fixture
async def receiver() -> AsyncIterator[MakeReceiver]:
    """Makes receivers and ends them."""
    servers: list[asyncio.Server] = []
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def make(behaviour: str) -> Receiver:
        answer = BEHAVIOURS[behaviour]
        made = Receiver()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            writers.add(writer)
            made.connections += 1
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                made.received.append(Received(first.split(" ")[1], headers, body))
                await answer(made, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        made.port = server.sockets[0].getsockname()[1]
        return made

    yield make
    for server in servers:
        server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in writers:
        writer.close()
        with contextlib.suppress(Exception):
            await writer.wait_closed()


class Mailbox:
    """What the mail server took; refuses whom it was told to."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.refuse: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802 the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(envelope)
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def mail_port(mailbox: Mailbox) -> AsyncIterator[int]:
    protocols: list[SMTP] = []

    def protocol() -> SMTP:
        protocols.append(SMTP(mailbox, hostname="mail.test", loop=asyncio.get_running_loop()))
        return protocols[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for one in protocols:
        if isinstance(one.transport, asyncio.Transport):
            one.transport.abort()
    await asyncio.sleep(0)
