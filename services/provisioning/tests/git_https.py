"""A git server by https on loopback: git's own http-backend behind TLS and a password, which can misbehave."""

import base64
import gzip
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOGIN = "deploy:canary-4711"
_BACKEND = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())
BACKEND = _BACKEND / "git-http-backend"


class Handler(BaseHTTPRequestHandler):
    """One request; the server says what becomes of it."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        self.server.git.took(self)

    def do_POST(self) -> None:
        self.do_GET()

    @property
    def pushes(self) -> bool:
        """Whether it is the request that brings the commits."""
        return self.command == "POST" and self.path.endswith("git-receive-pack")

    def ask_backend(self) -> tuple[int, list[tuple[str, str]], bytes]:
        path, _, query = self.path.partition("?")
        content = self._content()
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "deploy",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(content)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        said = subprocess.run([str(BACKEND)], input=content, env=env, capture_output=True, check=False).stdout
        head, _, body = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200").split()[0])
        return status, list(headers.items()), body

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut_at: int | None = None) -> bool:
        """Send it, and be done: true."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut_at])
        return True

    def _content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            content = b"".join(parts)
        else:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    git: "GitServer"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the tests."""


@dataclass
class GitServer:
    """What it serves, and what it was asked."""

    root: Path
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and login of each request."""
    misbehave: Callable[[Handler], bool] = lambda _: False
    """Answers in its own way, and says whether it has."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Who hangs, hangs until then."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def took(self, one: Handler) -> None:
        said = one.headers.get("Authorization", "").removeprefix("Basic ")
        login = base64.b64decode(said).decode()
        self.asked.append((one.path, login))
        if self.misbehave(one):
            return
        if login not in (LOGIN, f"entresol:{LOGIN.partition(':')[2]}"):
            one.answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"who are you?")
            return
        one.answer(*one.ask_backend())


@contextmanager
def git_server(root: Path, certificate: Path) -> Iterator[GitServer]:
    """Serves the repositories beneath the root, with a certificate whose key lies beside it."""
    server = _Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.git = made = GitServer(root, server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        made.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def self_signed(place: Path) -> Path:
    """A certificate of 127.0.0.1 at the place that is its own authority; its key beside it."""
    names = ("-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1")
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(place.with_suffix(".key")))
    subprocess.run(
        ["openssl", "req", "-x509", *key, "-out", str(place), "-days", "2", *names], check=True, capture_output=True
    )
    return place
