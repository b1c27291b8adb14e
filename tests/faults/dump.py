"""A reader of its own that writes the whole log down for the judge, message by message in the stream's order."""

import asyncio
import base64
import json
from pathlib import Path
from typing import IO, Any

import nats
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import EVENTS
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

FETCH = 500
READ_SECONDS = 30.0


class Dump:
    """`log.jsonl`, brought up to date by each `catch_up`; `begin_anew` after the bus has lost its store."""

    def __init__(self, server: NatsServer, file: Path) -> None:
        self._server = server
        self._file = file
        self.position = 0
        self.completed: set[str] = set()
        """Requests that have ended by what was read so far."""

    def catch_up(self) -> int:
        """Write down what has come since; return the last position. Raises TimeoutError if the bus does not answer."""
        with self._file.open("a", encoding="utf-8") as output:
            asyncio.run(asyncio.wait_for(self._read(output), 10 * READ_SECONDS))
        return self.position

    def begin_anew(self) -> None:
        """What the lost log held is on the new one as well: read that from its start."""
        self._file.unlink(missing_ok=True)
        self.position = 0
        self.completed.clear()

    async def _read(self, output: IO[str]) -> None:
        server = self._server
        connection = await nats.connect(server.url, user="admin", password=server.passwords.get("admin", ""))
        try:
            streams = connection.jetstream(timeout=READ_SECONDS)
            last = (await streams.stream_info(EVENTS)).state.last_seq
            if last <= self.position:
                return
            reader = await streams.pull_subscribe(
                "entresol.>",
                stream=EVENTS,
                config=ConsumerConfig(
                    ack_policy=AckPolicy.NONE,
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=self.position + 1,
                ),
            )
            while self.position < last:
                messages = await reader.fetch(min(FETCH, last - self.position), timeout=READ_SECONDS)
                output.writelines(self._line(message) for message in messages)
            await reader.unsubscribe()
        finally:
            await connection.close()

    def _line(self, message: Any) -> str:
        self.position = message.metadata.sequence.stream
        line: dict[str, Any] = {"position": self.position, "log_subject": message.subject}
        try:
            line["body"] = message.data.decode()
        except UnicodeDecodeError:
            line["raw"] = base64.b64encode(message.data).decode()
        if ".request.completed." in message.subject:
            self.completed.add(message.subject.rsplit(".", 1)[1])
        return json.dumps(line) + "\n"
