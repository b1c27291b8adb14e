"""A receiver of webhooks in a process of its own: writes each delivery down before it answers, and never forgets.

`python -m tests.faults.sink FILE` prints its port, then serves until its input ends.
"""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType


class Sink:
    """The receiver as its user sees it: a URL, and a file with a line for each delivery."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> "Sink":
        self.file.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.sink", str(self.file)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/hook"
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate(timeout=20)


class _Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ledger: int
    turn = threading.Lock()
    count = 0

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.turn:
            line = {
                "order": _Receiver.count,
                "delivery": self.headers["webhook-id"],
                "event": event["id"],
                "type": event["type"],
                "subject": event["subject"],
            }
            os.write(self.ledger, json.dumps(line).encode() + b"\n")
            _Receiver.count += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that are killed in the middle of a delivery are what it is here for."""


def main() -> None:
    _Receiver.ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with _Server(("127.0.0.1", 0), _Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
