"""Fixtures of the command's tests: a platform that says what it is told to, and a chain of events as one records it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from entresol.commandline import build
from typer.testing import CliRunner, Result

Answer = tuple[int, Any]
Document = dict[str, Any]


@dataclass
class Received:
    """One call that the doors got."""

    method: str
    path: str
    query: dict[str, str]
    pairs: list[tuple[str, str]]
    """The query with names that are there several times."""
    headers: dict[str, str]
    body: Any


@dataclass
class Doors:
    """A platform's two doors with canned answers; unknown paths are a 404 problem."""

    url: str = ""
    answers: dict[tuple[str, str], Answer | Callable[[Received], Answer]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    def says(self, method: str, path: str, status: int, body: Any) -> None:
        self.answers[method, path] = (status, body)

    def lists(self, path: str, *items: Document) -> None:
        self.says("GET", path, 200, {"items": list(items), "next": None})

    def asks(self, approval: Document) -> None:
        """The catalog knows this approval, or review, and no other."""
        self.lists("/catalog/v1/approvals", approval)
        self.says("GET", f"/catalog/v1/approvals/{approval['id']}", 200, approval)

    def streams(self, *events: Document) -> None:
        blocks = [f"id: {n}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n" for n, e in enumerate(events, start=1)]
        self.says("GET", "/catalog/v1/stream", 200, ": hello\n\n" + "".join(blocks))

    def last(self, method: str, path: str) -> Received:
        return next(one for one in reversed(self.received) if (one.method, one.path) == (method, path))


@pytest.fixture(scope="session", autouse=True)
def zone() -> Iterator[None]:
    """Times are shown in the user's zone, wherever the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield


@pytest.fixture
def doors() -> Iterator[Doors]:
    """The doors on a free port of loopback."""
    made = Doors()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            call = Received(
                self.command,
                unquote(parts.path),
                dict(parse_qsl(parts.query)),
                parse_qsl(parts.query),
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(raw) if raw else None,
            )
            made.received.append(call)
            known = made.answers.get((call.method, call.path), (404, {"title": "Not found", "status": 404}))
            status, body = known(call) if callable(known) else known
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(doors: Doors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Run a command against the doors, as a user without a platform of their own."""
    monkeypatch.setenv("ENTRESOL_SERVER", doors.url)
    monkeypatch.setenv("ENTRESOL_TOKEN", "entresol_test")
    monkeypatch.setenv("ENTRESOL_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(build(), list(arguments))

    return invoke


REQUEST = "0193f2c4-81c5-7d3e-9a10-3a0c52b6a3de"


@pytest.fixture
def chain() -> list[Document]:
    """What the log holds of a request that waited two minutes for an approval and then succeeded."""
    resource = {"request_id": REQUEST, "resource_id": "shop/prod/deployment/cart", "project": "shop"}
    verdict = {
        "policy": "production",
        "version": "sha256:1",
        "rule": 0,
        "effect": "approve",
        "mode": "enforce",
        "matched": True,
        "because": "production needs a second pair of eyes",
    }
    idle = verdict | {"rule": 1, "effect": "deny", "matched": False}

    def event(number: int, cause: int | None, at: str, source: str, fact: str, **data: Any) -> Document:
        return {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": f"/entresol/{source}",
            "type": f"dev.entresol.{fact}.v1",
            "subject": REQUEST,
            "time": f"2026-11-21T03:{at}+00:00",
            "correlationid": REQUEST,
            "actor": "user:ada",
            "position": number,
            **({"causationid": f"e{cause}"} if cause else {}),
            "data": {**resource, **data},
        }

    asked = {"actor": {"id": "user:ada", "groups": []}, "action": "create", "offering": "deployment"}
    approval = {"approval_id": "a1", "policy": "production"}
    return [
        event(1, None, "00:00", "intake", "request.submitted", **asked, offering_version="1.0.0", environment="prod",
              name="cart", inputs={}),
        event(2, 1, "00:00.012", "policy", "approval.requested", **approval, approvers=["group:sre"], count=1,
              not_self=True, requested_by="user:ada", expires_at="2026-11-21T07:00:00+00:00",
              because="production needs a second pair of eyes", verdicts=[verdict, idle]),
        event(3, None, "02:00", "intake", "approval.answered", **approval, answer="granted", by="user:grace",
              groups=["sre"]),
        event(4, 3, "02:00.010", "policy", "approval.granted", **approval,
              answers=[{"by": "user:grace", "answer": "granted", "at": "2026-11-21T03:02:00+00:00"}]),
        event(5, 4, "02:00.010", "policy", "request.allowed", verdicts=[verdict, idle], approvals=["a1"]),
        event(6, 5, "02:00.030", "provisioning", "run.started", run_id="r1", offering="deployment",
              offering_version="1.0.0", action="create", steps=["write", "announce"], running=["write"]),
        event(7, 6, "02:00.060", "provisioning", "run.progressed", run_id="r1", step="write", state="succeeded",
              attempt=1, running=["announce"]),
        event(8, 7, "02:00.080", "provisioning", "run.succeeded", run_id="r1", action="create", duration_ms=50,
              outputs={"url": "https://cart"}),
        event(9, 8, "02:00.090", "catalog", "request.completed", **asked | {"actor": "user:ada"}, environment="prod",
              name="cart", outcome="succeeded", submitted_at="2026-11-21T03:00:00+00:00", duration_ms=120_080,
              waits={"approval": 120_000}),
    ]  # fmt: skip


@pytest.fixture
def item() -> Document:
    """The request of `chain` as the catalog shows it."""
    return {
        "id": REQUEST,
        "resource": "shop/prod/deployment/cart",
        "project": "shop",
        "environment": "prod",
        "offering": "deployment",
        "offering_version": "1.0.0",
        "action": "create",
        "name": "cart",
        "inputs": {"image": "cart:1"},
        "actor": "user:ada",
        "dry_run": False,
        "state": "succeeded",
        "because": [],
        "submitted_at": "2026-11-21T03:00:00+00:00",
        "completed_at": "2026-11-21T03:02:00.090+00:00",
        "duration_ms": 120_080,
        "revision": 7,
        "waiting_for": None,
        "stalled_since": None,
        "steps": [{"name": "write", "state": "succeeded", "attempt": 1, "message": None}],
        "outputs": {"url": "https://cart"},
        "approvals": [],
        "plan": {},
    }


ACCEPTED = {
    "id": REQUEST,
    "resource": "shop/prod/deployment/cart",
    "offering": "deployment",
    "version": "1.0.0",
    "action": "create",
    "links": {},
}


@pytest.fixture
def accepting(doors: Doors, chain: list[Document], item: Document) -> Doors:
    """Doors of a platform that accepts the request of `chain` and knows how it went."""
    doors.says("POST", "/intake/v1/requests", 202, ACCEPTED)
    doors.streams(*chain)
    doors.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, item)
    doors.lists(f"/catalog/v1/requests/{REQUEST}/events", *chain)
    doors.lists("/catalog/v1/requests", item)
    doors.lists("/catalog/v1/approvals")
    doors.lists("/catalog/v1/resources")
    return doors
