"""What journeys have their effects on: repositories that people push to as well, an API with a ledger, programs."""

import itertools
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Document = dict[str, Any]

DESTINATIONS = """\
apiVersion: entresol.dev/v1
kind: Destination
metadata: {name: infra}
spec: {repository: infra.git, create: true}
---
apiVersion: entresol.dev/v1
kind: Destination
metadata: {name: forge}
spec: {api: {url: "%(api)s"}}
---
"""
"""A repository, and the API of `api` below."""

_GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "eve" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "eve@example.org" for who in ("AUTHOR", "COMMITTER")},
}


def entresol(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own, with no settings but these."""
    command = [sys.executable, "-m", "entresol", *arguments]
    whole = {name: value for name, value in os.environ.items() if not name.startswith("ENTRESOL_")} | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=whole)


def git(*arguments: str, at: Path) -> str:
    """A command of git as eve, who uses no platform; what it prints."""
    done = subprocess.run(["git", *arguments], cwd=at, env=_GIT_ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@dataclass
class Repository:
    """A bare repository, and eve's clone of it."""

    place: Path
    clone: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def commits(self) -> list[str]:
        """Subjects, the newest first."""
        return git("log", "--format=%s", "main", at=self.place).splitlines()

    def paths(self) -> list[str]:
        return git("ls-tree", "-r", "--name-only", "main", at=self.place).splitlines()

    def text(self, path: str) -> str:
        return git("show", f"main:{path}", at=self.place)

    def push(self, files: Mapping[str, str | None], message: str = "by hand") -> None:
        """Commit and push as eve, on top of what the platform pushes meanwhile; None removes a file."""
        if not self.clone.exists():
            git("clone", "-q", "-b", "main", str(self.place), str(self.clone), at=self.place)
        git("pull", "-q", at=self.clone)
        for name, text in files.items():
            file = self.clone / name
            if text is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        git("add", "--all", at=self.clone)
        git("commit", "-q", "-m", message, at=self.clone)
        while not _is_pushed(self.clone):
            git("pull", "-q", "--rebase", at=self.clone)


def _is_pushed(clone: Path) -> bool:
    """Push; False if somebody else has pushed in between."""
    pushing = ["git", "push", "-q", "origin", "main"]
    done = subprocess.run(pushing, cwd=clone, env=_GIT_ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 or "[rejected]" in done.stderr, done.stderr
    return done.returncode == 0


@dataclass
class Api:
    """An API that keeps things by name: POST /things, and GET, PUT, DELETE /things/NAME, POST /things/NAME/rotate."""

    url: str = ""
    things: dict[str, Document] = field(default_factory=dict)
    ledger: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each call that may have had an effect."""
    clinging: set[str] = field(default_factory=set)
    """Names of things that stay, although it answers that it has deleted them."""
    busy_looks: int = 0
    """How often a thing shows itself as being made."""

    def calls(self, name: str) -> list[str]:
        """What was done to the thing, in order."""
        return [f"{method} {path}" for method, path in self.ledger if path.split("/")[2:3] == [name]]

    def answer(self, method: str, path: str, body: Document) -> tuple[int, Document | None]:
        _, kind, *rest = path.split("/")
        assert kind == "things"
        name = rest[0] if rest else str(body["name"])
        if method != "GET":
            self.ledger.append((method, f"/things/{'/'.join(rest or [name])}"))
        if method == "POST" and not rest:
            self.things[name] = {**body, "looks": self.busy_looks, "token": 1}
        if name not in self.things:
            return 404, {"message": f"no {name}"}
        thing = self.things[name]
        if method == "PUT":
            thing.update(body)
        elif rest[1:] == ["rotate"]:
            thing["token"] += 1
        elif method == "DELETE" and name not in self.clinging:
            del self.things[name]
            return 204, None
        elif method == "GET" and thing["looks"] > 0:
            thing["looks"] -= 1
            return 200, {"name": name, "state": "busy"}
        return 200, {**thing, "state": "ready", "endpoint": f"https://{name}.example"}


@contextmanager
def api() -> Iterator[Api]:
    """A running API on loopback."""
    made, turn = Api(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            with turn:
                status, said = made.answer(self.command, self.path, json.loads(raw) if raw else {})
            body = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def install(programs: Path, texts: Mapping[str, str]) -> None:
    """Put programs where steps of `exec` find them."""
    programs.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        file = programs / name
        file.write_text(text)
        file.chmod(stat.S_IRWXU)
