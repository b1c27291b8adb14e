"""The two doors over HTTP: writes go to /intake, reads to /catalog.

A write is answered before the catalog has seen it. Whoever reads what they just wrote has to wait for it, which is
what `follow`, `request`, `settled` and `heard` do.
"""

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx

from entresol.doors.paths import segment
from entresol.failures import Code, Failure, Refused

Document = dict[str, Any]

COMPLETED = "dev.entresol.request.completed.v1"
_SETTLE_SECONDS = 10.0
"""How long a request that was just accepted may be unknown to the catalog."""
_MOMENT_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_MOVING = frozenset({"submitted", "planning", "planned", "allowed", "running"})
"""States that a request leaves by itself; a running one may wait for somebody in a step."""
_NEW_SECONDS = 60.0
"""Younger ids may be unknown to the catalog. Clocks of the platform's machines differ by less."""
_QUIET_SECONDS = 20.0
"""A stream that says nothing for so long, not even a comment, is taken for dead and opened anew."""


class Client:
    """A connection to one platform, with one token. May be shared by threads."""

    def __init__(self, server: str, token: str | None = None, *, timeout_seconds: float = 30.0) -> None:
        self.server = server.rstrip("/")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(headers=headers, timeout=timeout_seconds, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def read(self, path: str, **query: Any) -> Any:
        """GET from the catalog; parameters that are None are left out."""
        return self._call("GET", f"/catalog{path}", params=_given(query))

    def every(self, path: str, *, most: int | None = None, **query: Any) -> Iterator[Document]:
        """The items of a list, page by page, at most `most` of them."""
        cursor: str | None = None
        left = most
        while left is None or left > 0:
            page = self.read(path, **query, cursor=cursor, limit=min(left or 500, 500))
            yield from page["items"][:left]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next")
            if cursor is None:
                return

    def history(self, *, after: int | None = None, most: int | None = None, **filters: Any) -> Iterator[Document]:
        """The events that lie on the log now, in its order, behind a position; each with its `position`."""
        left = most
        while left is None or left > 0:
            page = self.read("/v1/events", **filters, after=after, limit=min(left or 500, 500))
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            if page.get("next") is None:
                return
            after = int(page["next"])

    def write(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        """Send JSON to intake and return what it answers."""
        return self._call(method, f"/intake{path}", **({} if body is None else {"json": body}), **extra)

    def submit(self, body: Mapping[str, Any], idempotency_key: str | None = None) -> Document:
        """Ask for something; the answer holds the request's id. With a key, repeating it is safe."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        answer: Document = self.write("POST", "/v1/requests", body, headers=headers)
        return answer

    def apply(
        self, manifests: Sequence[Mapping[str, Any]], *, dry_run: bool = False, proposed: bool = False
    ) -> list[Document]:
        """Publish manifests, all or none; one result for each, in order. What is proposed becomes no default."""
        options = {name: "true" for name, on in (("dry_run", dry_run), ("proposed", proposed)) if on}
        answer = self.write("POST", "/v1/manifests", list(manifests), params=options)
        results: list[Document] = answer["results"]
        return results

    def remove(self, kind: str, name: str, version: str | None = None) -> None:
        """Take a manifest out of force."""
        self.write("DELETE", f"/v1/manifests/{segment(kind)}/{segment(name)}", params=_given({"version": version}))

    def answer(self, approval_id: str, answer: str, reason: str | None = None) -> Any:
        """Grant or reject an approval; policy decides afterwards whether the answer counts."""
        return self.say(approval_id, "", _given({"answer": answer, "reason": reason}))

    def say(self, approval_id: str, door: str, body: Mapping[str, Any]) -> Any:
        """Say something to an approval, by the door at the end of its path.

        An approval that the catalog shows may be unknown to intake for a moment, so it is asked again for a second.
        """
        settled = time.monotonic() + 1.0
        while True:
            try:
                return self.write("POST", f"/v1/approvals/{segment(approval_id)}{door}", body)
            except Refused as refusal:
                if refusal.status != 404 or time.monotonic() > settled:
                    raise
                time.sleep(0.02)

    def cancel(self, request_id: str, reason: str | None = None) -> Any:
        return self.write("POST", f"/v1/requests/{segment(request_id)}/cancel", _given({"reason": reason}))

    def publish(self, event: Mapping[str, Any]) -> Any:
        """Hand in a CloudEvent, structured, or a CDEvent as CI tools send it."""
        kind = "application/cloudevents+json" if "specversion" in event else "application/json"
        return self.write("POST", "/v1/events", event, headers={"content-type": kind})

    def hook(self, source: str, body: bytes, headers: Mapping[str, str]) -> Any:
        """Deliver a webhook as its sender would: the body's bytes as they are, signed by the headers."""
        return self._call("POST", f"/intake/hooks/{segment(source)}", content=body, headers=dict(headers))

    def request(self, request_id: str) -> Document:
        """The request. One that was asked for just now is waited for: the catalog hears of it a moment later."""
        deadline = time.monotonic() + _MOMENT_SECONDS
        while True:
            try:
                item: Document = self.read(f"/v1/requests/{segment(request_id)}")
                return item
            except Refused as refusal:
                if refusal.status != 404 or not _is_new(request_id, refusal.at) or time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_SECONDS)

    def heard(self, path: str, holds: Callable[[Document], object], **query: Any) -> None:
        """Return when such an item is on the catalog's list, or after a moment.

        For whoever has just written it: the next command may read it. It is written in any case, so nothing is raised.
        """
        deadline = time.monotonic() + _MOMENT_SECONDS
        with contextlib.suppress(Failure):
            while not any(map(holds, self.read(path, **query)["items"])) and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)

    def approval(self, approval_id: str) -> Document:
        """One approval, or review: who is asked, and what has been said."""
        item: Document = self.read(f"/v1/approvals/{segment(approval_id)}")
        return item

    def settled(self, request_id: str) -> Document:
        """The request once it waits for somebody or has ended, or as it is after a moment.

        For whoever answers what was asked for just now: it is on its way to where it waits.
        """
        deadline = time.monotonic() + _MOMENT_SECONDS
        while True:
            item = self.request(request_id)
            if item.get("suspended") or item["state"] not in _MOVING or time.monotonic() > deadline:
                return item
            time.sleep(_LOOK_SECONDS)

    def chain(self, request_id: str) -> list[Document]:
        """Every event of the request's chain in log order, each with its `position`."""
        return list(self.every(f"/v1/requests/{segment(request_id)}/events"))

    def stream(
        self, *, after: int | None = None, deadline: float | None = None, **filters: Any
    ) -> Generator[Document, None, None]:
        """Events as they come, each with its `position`; reconnects where it left off. Ends never.

        `deadline` is a `time.monotonic()`; past it Failure is raised. Without `after` it starts with what comes next.
        """
        position = after
        pause = 0.1
        while True:
            try:
                for at, envelope in self._stream_once(position, deadline, filters):
                    position, pause = at, 0.1
                    yield {**envelope, "position": at}
            except httpx.TimeoutException:
                _check(deadline)
            except httpx.TransportError as error:
                if position is None and pause > 0.1:
                    raise unreachable(self.server, error) from None
            _check(deadline)
            time.sleep(pause)
            pause = min(pause * 2, 2.0)

    def follow(self, request_id: str, timeout_seconds: float) -> Iterator[Document]:
        """The events of a request's chain from its first to the one that completes it; then it ends.

        Raises Failure with TIMED_OUT if the request is not complete by then.
        """
        deadline = time.monotonic() + timeout_seconds
        settled = time.monotonic() + min(_SETTLE_SECONDS, timeout_seconds)
        while True:
            try:
                for envelope in self.stream(after=0, deadline=deadline, request=request_id):
                    yield envelope
                    if envelope["type"] == COMPLETED and envelope["data"].get("request_id") == request_id:
                        return
            except Refused as refusal:
                if refusal.status != 404 or time.monotonic() > settled:
                    raise
                time.sleep(0.02)

    def wait(self, request_id: str, timeout_seconds: float = 30.0) -> Document:
        """The request once it is complete."""
        for _ in self.follow(request_id, timeout_seconds):
            pass
        return self.request(request_id)

    def _stream_once(
        self, after: int | None, deadline: float | None, filters: Mapping[str, Any]
    ) -> Iterator[tuple[int, Document]]:
        quiet = _QUIET_SECONDS if deadline is None else max(0.05, min(_QUIET_SECONDS, deadline - time.monotonic()))
        query = _given({**filters, "after": after})
        headers = {"accept": "text/event-stream"} | ({} if after is None else {"last-event-id": str(after)})
        url = f"{self.server}/catalog/v1/stream"
        timeout = httpx.Timeout(10.0, read=quiet)
        with self._http.stream("GET", url, params=query, headers=headers, timeout=timeout) as response:
            if response.status_code >= 400:
                response.read()
                raise refusal_of(response)
            position, data = 0, ""
            for line in response.iter_lines():
                _check(deadline)
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "id":
                    position = int(value)
                elif field == "data":
                    data += value
                elif not line and data:
                    yield position, json.loads(data)
                    data = ""

    def _call(self, method: str, path: str, **extra: Any) -> Any:
        try:
            response = self._http.request(method, self.server + path, **extra)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise Failure(f"{self.server} is not a URL such as http://127.0.0.1:8400", Code.INVALID) from None
        except httpx.TransportError as error:
            raise unreachable(self.server, error) from None
        if response.status_code >= 400:
            raise refusal_of(response)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise Failure(f"{self.server}{path} did not answer with JSON; is it Entresol?", Code.UNREACHABLE) from None


def refusal_of(response: httpx.Response) -> Refused:
    """The problem details of an error response, or the best that can be said without them."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    said = problem if isinstance(problem, dict) else {"title": response.reason_phrase}
    return Refused(response.status_code, said, _clock(response))


def _clock(response: httpx.Response) -> float | None:
    with contextlib.suppress(ValueError):
        return parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    return None


def unreachable(server: str, error: httpx.TransportError) -> Failure:
    reason = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    hint = "Start a platform with `entresol up`, or name another by --server or ENTRESOL_SERVER."
    return Failure(f"cannot reach {server}: {reason}", Code.UNREACHABLE, hints=(hint,))


def _is_new(request_id: str, now: float | None) -> bool:
    """Whether the time in the id, which is a UUIDv7, is about now by the platform's clock."""
    try:
        made_at = (UUID(request_id).int >> 80) / 1000
    except ValueError:
        return False
    return now is not None and abs(now - made_at) < _NEW_SECONDS


def _given(values: Mapping[str, Any]) -> Document:
    return {name: value for name, value in values.items() if value is not None}


def _check(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise Failure("timed out waiting", Code.TIMED_OUT)
