"""An API on loopback, with a ledger of what it has done, that breaks as it is told to.

It keeps things (`/things/NAME`), makes them at once or by a job, runs workflows like GitHub, and DAGs like Airflow.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

Said: TypeAlias = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


Route: TypeAlias = Callable[["FakeApi", Call], Said | None]
Fault: TypeAlias = Callable[["FakeApi", Call, asyncio.StreamWriter, Callable[[], bytes]], Awaitable[None]]


@dataclass
class FakeApi:
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    effects: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and idempotency key of each call that had an effect."""
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    fault: Fault | None = None
    """For the next call that is not a GET."""
    look_fault: Fault | None = None
    """For each GET."""
    hidden_looks: int = 0
    """How often what was begun is not shown yet."""
    job_looks: int = 2
    """How often a job is asked for until it is done."""
    routes: list[Route] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keys(self, method: str | None = None) -> list[str]:
        return [key for one, _, key in self.effects if method in (None, one)]

    def unsafe(self) -> list[Call]:
        return [one for one in self.calls if one.method != "GET"]

    def answer(self, call: Call) -> Said:
        for route in (*self.routes, things, jobs, workflows, dags):
            if (said := route(self, call)) is not None:
                return said
        return 404, {"message": f"no {call.path}"}

    def effect(self, call: Call) -> None:
        self.effects.append((call.method, call.path, call.headers.get("idempotency-key", "")))


def things(api: FakeApi, call: Call) -> Said | None:
    head, _, name = call.path.removeprefix("/v1/").partition("/")
    if head != "things":
        return None
    if call.method == "POST" and not name:
        name = call.body["name"]
        if name in api.things:
            return 409, {"message": f"{name} is there already"}
        api.effect(call)
        api.things[name] = dict(call.body)
        if "job" in call.query:
            api.jobs[name] = {"left": api.job_looks}
            return 202, {"job": name}, {"location": f"/jobs/{name}"}
        return 201, thing(api, name)
    if name not in api.things:
        return 404, {"message": "no such thing"}
    if call.method == "GET":
        return 200, thing(api, name)
    api.effect(call)
    if call.method == "DELETE":
        del api.things[name]
        return 204, None
    api.things[name].update(call.body)
    return 200, thing(api, name)


def thing(api: FakeApi, name: str) -> dict[str, Any]:
    return {**api.things[name], "id": f"id-{name}", "endpoint": f"https://{name}.example", "password": "hunter2-canary"}


def jobs(api: FakeApi, call: Call) -> Said | None:
    head, _, name = call.path.removeprefix("/").partition("/")
    if head != "jobs" or name not in api.jobs:
        return None
    job = api.jobs[name]
    job["left"] -= 1
    if job.get("broken"):
        return 200, {"state": "failed", "why": "no \x1b[31mroom\nleft"}
    return 200, {"state": "done" if job["left"] <= 0 else "running", "percent": 50, "result": 7}


def workflows(api: FakeApi, call: Call) -> Said | None:
    """As GitHub's REST API has it: a dispatch gives no id."""
    root = "/repos/acme/shop/actions/"
    if not call.path.startswith(root):
        return None
    rest = call.path.removeprefix(root)
    if rest == "workflows/deploy.yml/dispatches" and call.method == "POST":
        api.effect(call)
        number = len(api.runs) + 1
        title = f"Deploy ({call.body['inputs']['entresol']})"
        api.runs.append({"id": number, "display_title": title, "status": "queued", "conclusion": None, "looks": 0})
        return 204, None
    if rest == "workflows/deploy.yml/runs":
        if api.hidden_looks > 0:
            api.hidden_looks -= 1
            return 200, {"total_count": 0, "workflow_runs": []}
        return 200, {"total_count": len(api.runs), "workflow_runs": api.runs[::-1]}
    if rest.startswith("runs/"):
        run = api.runs[int(rest.removeprefix("runs/")) - 1]
        run["looks"] += 1
        if run["looks"] >= api.job_looks:
            run.update(status="completed", conclusion=run.get("ends") or "success")
        return 200, run
    return None


def dags(api: FakeApi, call: Call) -> Said | None:
    """As Airflow's stable REST API has it: the caller names the run."""
    root = "/api/v1/dags/provision/dagRuns"
    if not call.path.startswith(root):
        return None
    name = call.path.removeprefix(root).removeprefix("/")
    if call.method == "POST":
        name = call.body["dag_run_id"]
        if name in api.jobs:
            return 409, {"title": "Conflict", "detail": f"DAGRun with {name} already exists", "status": 409}
        api.effect(call)
        api.jobs[name] = {"left": api.job_looks}
        return 200, {"dag_run_id": name, "state": "queued"}
    if name not in api.jobs:
        return 404, {"title": "DAGRun not found"}
    api.jobs[name]["left"] -= 1
    return 200, {"dag_run_id": name, "state": "success" if api.jobs[name]["left"] <= 0 else "running"}


def written(said: Said) -> bytes:
    status, body, *more = said
    raw = b"" if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **(more[0] if more else {}), "content-length": str(len(raw))}
    lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + raw


def raw(text: bytes, *, acts: bool = False) -> Fault:
    """Answers with these bytes and closes; with `acts` after the effect."""

    async def fault(_: FakeApi, __: Call, writer: asyncio.StreamWriter, act: Callable[[], bytes]) -> None:
        if acts:
            act()
        writer.write(text)
        await writer.drain()

    return fault


def cut(*, acts: bool) -> Fault:
    """Drops the connection before, or after, the effect."""
    return raw(b"", acts=acts)


def halfway(*, acts: bool = True) -> Fault:
    """Drops the connection in the middle of the answer."""

    async def fault(_: FakeApi, __: Call, writer: asyncio.StreamWriter, act: Callable[[], bytes]) -> None:
        text = act()
        writer.write(text[: len(text) - 5])
        await writer.drain()

    return fault


def hanging(*, acts: bool) -> Fault:
    async def fault(_: FakeApi, __: Call, writer: asyncio.StreamWriter, act: Callable[[], bytes]) -> None:
        if acts:
            act()
        await asyncio.sleep(60)

    return fault


async def dripping(_: FakeApi, __: Call, writer: asyncio.StreamWriter, ___: Callable[[], bytes]) -> None:
    """A chunk now and then, without an end."""
    writer.write(b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flooding(_: FakeApi, __: Call, writer: asyncio.StreamWriter, ___: Callable[[], bytes]) -> None:
    """Chunks as fast as they go, without an end."""
    writer.write(b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"8000\r\n" + b"[" * 0x8000 + b"\r\n")
        await writer.drain()


def status(code: int, body: Any = None, **headers: str) -> Fault:
    return raw(written((code, body, {name.replace("_", "-"): value for name, value in headers.items()})))


@asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    api = FakeApi()
    open_: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await _answer(api, reader, writer)
        finally:
            open_.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    api.port = server.sockets[0].getsockname()[1]
    try:
        yield api
    finally:
        server.close()
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)
        await server.wait_closed()


async def _answer(api: FakeApi, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    content = json.loads(body) if body else None
    call = Call(method, unquote(parts.path), parse_qs(parts.query, keep_blank_values=True), headers, content)
    api.calls.append(call)
    fault = api.look_fault if method == "GET" else api.fault
    if method != "GET":
        api.fault = None
    if fault is not None:
        await fault(api, call, writer, lambda: written(api.answer(call)))
    else:
        writer.write(written(api.answer(call)))
        await writer.drain()
