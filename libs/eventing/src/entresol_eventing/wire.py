"""The edge to nats-py: whole batches in and out, without its work per message. The only room that knows its insides.

nats-py parses every header, queues every message and wakes a task for each; publishing builds each frame by itself.
For a log read and written in batches that is most of the cost. Connecting, pings and reconnecting stay nats-py's.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from nats.aio.client import Client

Receive: TypeAlias = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Takes a message as it came: subject, reply subject, body, and headers in wire form."""


class Wire:
    """One connection. Its other subscriptions work as they always do."""

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self._receivers: dict[int, Receive] = {}
        self._theirs = connection._process_msg
        connection._process_msg = self._process  # type: ignore[method-assign]

    async def _process(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if (receive := self._receivers.get(sid)) is None:
            await self._theirs(sid, subject, reply, data, headers)
        else:
            receive(subject, reply, data, headers)

    async def subscribe(self, subject: str, receive: Receive) -> Callable[[], Awaitable[None]]:
        """Hand what arrives to `receive`, in order; what is returned ends it."""
        subscription = await self.connection.subscribe(subject)
        sid = subscription._id
        self._receivers[sid] = receive

        async def unsubscribe() -> None:
            self._receivers.pop(sid, None)
            await subscription.unsubscribe()

        return unsubscribe

    async def send(self, frames: bytes) -> None:
        """Write frames; raise ConnectionError while there is no connection, so that nothing is sent much later."""
        if not self.connection.is_connected:
            raise ConnectionError("not connected to the bus")
        await self.connection._send_command(frames)
        await self.connection._flush_pending()


def drop_unsent(connection: Client) -> None:
    """Forget what was written and not yet sent; nats-py would send it after it has reconnected."""
    connection._pending.clear()
    connection._pending_data_size = 0


def frame(subject: str, body: bytes, *, reply: str = "", headers: str = "") -> bytes:
    """One message to be sent; `headers` are lines that end in CRLF each."""
    if not headers:
        return b"".join((f"PUB {subject} {reply} {len(body)}\r\n".encode(), body, b"\r\n"))
    head = f"NATS/1.0\r\n{headers}\r\n".encode()
    return b"".join((f"HPUB {subject} {reply} {len(head)} {len(head) + len(body)}\r\n".encode(), head, body, b"\r\n"))


def parse_headers(raw: bytes | None) -> dict[str, str]:
    """Headers in wire form by name; lines that are none are passed over."""
    found: dict[str, str] = {}
    for line in (raw or b"").split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found[name.strip().decode("ascii", "replace")] = value.strip().decode("utf-8", "replace")
    return found


def status(headers: bytes | None) -> str:
    """The status in the first header line, such as 404; empty if there is none."""
    return (headers or b"")[9:12].decode("ascii", "replace").strip()
