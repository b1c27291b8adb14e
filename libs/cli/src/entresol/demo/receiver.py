"""A receiver of notifications: an HTTP server on loopback that checks signatures as Standard Webhooks asks for."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOST_BYTES = 1024 * 1024
TOLERANCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Notification:
    """One delivery whose signature was good."""

    id: str
    event: dict[str, Any]
    """What the body is: the event itself, with its envelope."""


@dataclass
class Receiver:
    """What came in."""

    url: str
    taken: list[Notification] = field(default_factory=list)
    repeated: int = 0
    refused: int = 0

    def note(self, notification: Notification) -> None:
        if any(one.id == notification.id for one in self.taken):
            self.repeated += 1
        else:
            self.taken.append(notification)


def verified(secret: str, delivery_id: str, timestamp: str, signatures: str, body: bytes) -> bool:
    """Whether one of the signatures is that of the body under the secret (`whsec_` and base64), and recent."""
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256)
    expected = b"v1," + base64.b64encode(digest)
    return any(hmac.compare_digest(expected, one.encode()) for one in signatures.split())


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    """A receiver on a free port, closed at the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("content-length") or 0), MOST_BYTES))
            delivery_id = self.headers.get("webhook-id", "")
            stamp, signatures = self.headers.get("webhook-timestamp", ""), self.headers.get("webhook-signature", "")
            good = verified(secret, delivery_id, stamp, signatures, body)
            if good:
                receiver.note(Notification(delivery_id, json.loads(body)))
            else:
                receiver.refused += 1
            self.send_response(204 if good else 401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/notifications")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
