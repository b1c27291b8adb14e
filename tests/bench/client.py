"""A small HTTP/1.1 client that costs little: the load must not be what is measured."""

import asyncio
import json
from typing import Any, cast


class Client(asyncio.Protocol):
    """One keep-alive connection, one call at a time; raises ConnectionError when the server closes it."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host, self._port = host, port
        self._head = f"Host: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._arrived = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    async def connect(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._loop.create_connection(lambda: self, self._host, self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    async def post(self, path: str, body: Any) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        data = json.dumps(body).encode()
        if self._transport is None:
            raise ConnectionError("not connected")
        self._answer = self._loop.create_future()
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(data)}\r\n\r\n"
        self._transport.write(head.encode() + data)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        head, blank, rest = self._arrived.partition(b"\r\n\r\n")
        if not blank or self._answer is None:
            return
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        if len(rest) >= length:
            self._arrived = rest[length:]
            answer, self._answer = self._answer, None
            answer.set_result((int(head[9:12]), rest[:length]))

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
