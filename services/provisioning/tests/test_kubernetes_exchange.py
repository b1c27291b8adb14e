"""The kubernetes driver against a strict recording of a real API server: each request must be the recorded one, in its
order, with its path, query, content type and body; anything else fails the test.

This needs no cluster, and knows nothing but what was recorded (`kubernetes_exchange` says how). What depends on how a
cluster behaves is tried in test_kubernetes.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from entresol_provisioning.drivers import StepFailed
from entresol_provisioning.drivers.kubernetes import Kubernetes
from entresol_provisioning.settings import Settings

from services.provisioning.tests.kubernetes_exchange import PLACE, journey

UNEXPECTED = 418


class Recording:
    """Answers only what it was recorded to be asked."""

    def __init__(self, exchange: list[dict[str, Any]]) -> None:
        self.left = list(exchange)
        self.wrong: list[Any] = []

    def answer(self, asked: dict[str, Any]) -> tuple[int, Any]:
        expected = self.left[0] if self.left else {}
        if self.wrong or {key: expected.get(key) for key in asked} != asked:
            self.wrong.append({"asked": asked, "expected": {key: expected.get(key) for key in asked}})
            return UNEXPECTED, {}
        self.left.pop(0)
        return expected["status"], expected["answer"]


@pytest.fixture
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PLACE.read_text())
    return found


@pytest.fixture
def recording(recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    replay = Recording(recorded["exchange"])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def answer(self) -> None:
            parts, length = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            asked = {
                "method": self.command,
                "path": unquote(parts.path),
                "query": {name: values[0] for name, values in parse_qs(parts.query).items()},
                "content_type": self.headers.get("Content-Type"),
                "body": json.loads(raw) if raw else None,
            }
            status, answer = replay.answer(asked)
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_PATCH = do_DELETE = do_POST = do_PUT = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
    }
    monkeypatch.setenv("RECORDED", json.dumps(kubeconfig))
    yield replay
    server.shutdown()
    thread.join()
    server.server_close()


async def nothing() -> None:
    """What somebody did then is in the recording already, and what took time then takes none now."""


async def live_through(settings: Settings) -> list[Any]:
    driver = Kubernetes(settings.model_copy(update={"kubernetes_insecure": True}))
    try:
        said: list[Any] = json.loads(json.dumps(await journey(driver, "env:RECORDED", nothing, nothing), default=str))
        return said
    finally:
        await driver.close()


async def test_a_step_says_to_a_cluster_exactly_what_was_recorded(
    settings: Settings, recorded: dict[str, Any], recording: Recording
) -> None:
    try:
        said = await live_through(settings)
    except StepFailed as failure:
        pytest.fail(f"{failure.reason}: {recording.wrong[:1]}")
    assert recording.wrong == []
    assert recording.left == []
    assert said == recorded["said"]


@pytest.mark.parametrize("number", [0, 3, 6, 13])
async def test_a_request_that_was_not_recorded_is_noticed(
    settings: Settings, recording: Recording, number: int
) -> None:
    recording.left[number] = {**recording.left[number], "path": "/api/v1/other"}
    with pytest.raises((StepFailed, AssertionError)):
        await live_through(settings)
    assert recording.wrong
