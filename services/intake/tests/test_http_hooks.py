"""Webhooks: signatures over the raw bytes, copies, floods, and GitHub's real payloads."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.envelope import Event
from entresol_eventing.service import Service
from entresol_eventing.testing import published
from entresol_intake.settings import Settings
from httpx import AsyncClient, Response

from services.intake.tests.conftest import Connect, Document, Make

Post = Callable[..., Awaitable[Response]]
SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "github"
REPOSITORY = {"name": "cart", "full_name": "shop/cart", "html_url": "https://github.com/shop/cart"}
PUSH = {
    "ref": "refs/heads/main",
    "before": "1" * 40,
    "after": "2" * 40,
    "repository": REPOSITORY,
    "pusher": {"name": "ada"},
    "commits": [{"id": "2" * 40, "message": "Fix", "author": {"username": "ada"}}],
}


@pytest.fixture
def post(
    stocked: AsyncClient, connect: Connect, make_manifest: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Post:
    """Deliver a payload to the source `github`, whose secrets are `old` (a file) and `new` (the environment)."""
    (tmp_path / "old").write_text("old\n")
    monkeypatch.setenv("HOOK_SECRET", "new")
    source = make_manifest("Source", "github", kind="github", secretRef=[f"file:{tmp_path / 'old'}", "env:HOOK_SECRET"])
    stranger = connect("")

    async def deliver(
        payload: Document | bytes,
        event: str = "push",
        secret: bytes = b"old",
        delivery: str = "d-1",
        **headers: str | bytes,
    ) -> Response:
        await stocked.post("/v1/manifests", json=[source])
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        sane = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": "sha256=" + hmac.new(secret, body, "sha256").hexdigest(),
        }
        given = {**sane, **headers}
        whole = {name.encode(): value.encode() if isinstance(value, str) else value for name, value in given.items()}
        return await stranger.post("/hooks/github", content=body, headers=whole)

    return deliver


async def hooked(service: Service) -> list[Event[Any]]:
    return [event for event in await published(service) if event.source.startswith("https://github.com/")]


async def test_a_signed_push_becomes_an_event(service: Service, post: Post) -> None:
    answer = await post(PUSH)
    assert (answer.status_code, answer.json()) == (202, {"id": "d-1", "events": 1, "duplicate": False})
    (event,) = await hooked(service)
    assert event.type == "dev.entresol.change.pushed.v1"
    assert (event.id, event.source, event.actor) == ("d-1", "https://github.com/shop/cart", "ci:github/shop/cart")
    assert (event.data.branch, event.data.revision, event.data.by) == ("main", "2" * 40, "ada")


@pytest.mark.parametrize("secret", [b"old", b"new"])
async def test_both_secrets_are_good_while_one_is_rotated(post: Post, secret: bytes) -> None:
    assert (await post(PUSH, secret=secret)).status_code == 202


@pytest.mark.parametrize(
    "signature", ["", "sha256=", "sha256=" + "0" * 64, "sha1=abc", "sha256=é".encode(), b"\xff\xfe"]
)
async def test_what_is_not_signed_is_refused_and_told_without_its_body(
    service: Service, post: Post, signature: str | bytes
) -> None:
    answer = await post(PUSH, **{"X-Hub-Signature-256": signature})
    assert answer.status_code == 401
    assert await hooked(service) == []
    told = (await published(service))[-1]
    assert (told.type, told.data.door, told.data.source) == ("dev.entresol.delivery.refused.v1", "hook", "github")
    assert "refs/heads" not in told.model_dump_json()


async def test_the_signature_covers_the_raw_bytes(post: Post) -> None:
    body = json.dumps(PUSH).encode()
    signature = "sha256=" + hmac.new(b"old", body, "sha256").hexdigest()
    answer = await post(body.replace(b", ", b","), **{"X-Hub-Signature-256": signature})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-GitHub-Delivery": ""}, 400),
        ({"X-GitHub-Event": ""}, 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_a_signed_delivery_must_be_whole(post: Post, headers: dict[str, str], status: int) -> None:
    assert (await post(PUSH, **headers)).status_code == status


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1,"a":2}', b'{"a":NaN}'])
async def test_a_signed_body_must_be_a_json_object(service: Service, post: Post, body: bytes) -> None:
    assert (await post(body)).status_code == 400
    assert (await published(service))[-1].type == "dev.entresol.delivery.refused.v1"


async def test_a_delivery_is_folded_by_its_id_and_by_its_body(service: Service, post: Post) -> None:
    await post(PUSH)
    assert (await post(PUSH)).json()["duplicate"] is True
    assert (await post(PUSH, delivery="forged")).json()["duplicate"] is True
    assert (await post(PUSH | {"after": "3" * 40})).json()["duplicate"] is True
    assert len(await hooked(service)) == 1


async def test_a_hundred_copies_at_once_make_one_event(service: Service, post: Post) -> None:
    answers = await asyncio.gather(*(post(PUSH) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert sum(answer.json()["events"] for answer in answers) == 1
    assert len(await hooked(service)) == 1


async def test_an_unknown_source_is_not_found_and_says_nothing(
    service: Service, stocked: AsyncClient, connect: Connect
) -> None:
    before = len(await published(service))
    stranger = connect("")
    for name in ("nothing", "%2e%2e", "A", "x" * 200):
        assert (await stranger.post(f"/hooks/{name}", content=b"{}")).status_code == 404
    assert len(await published(service)) == before


async def test_a_secret_that_is_not_there_is_an_operators_fault(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").unlink()
    assert (await post(PUSH, secret=b"new")).status_code == 202
    monkeypatch.delenv("HOOK_SECRET")
    assert (await post(PUSH)).status_code == 503


async def test_a_flood_of_refusals_is_told_only_in_part(service: Service, post: Post) -> None:
    for _ in range(150):
        assert (await post(PUSH, secret=b"wrong")).status_code == 401
    told = [event for event in await published(service) if event.type == "dev.entresol.delivery.refused.v1"]
    assert 100 <= len(told) < 120


async def test_a_flood_of_deliveries_is_shed(
    settings: Settings, post: Post, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from entresol_intake.domain.throttle import Throttle

    monkeypatch.setattr(Throttle, "admits", lambda _self: False)
    answer = await post(PUSH)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_greeting_makes_no_event(service: Service, post: Post) -> None:
    assert (await post({"zen": "x"}, event="ping")).json() == {"id": "d-1", "events": 0, "duplicate": False}
    assert await hooked(service) == []


async def test_a_payload_too_large_for_an_event_is_kept_by_name(service: Service, post: Post) -> None:
    assert (await post({"repository": REPOSITORY, "x": "y" * 400_000}, event="status")).status_code == 202
    (event,) = await hooked(service)
    assert event.data.event["type"] == "com.github.status"
    assert "omitted" in event.data.event["data"]


async def test_a_source_may_name_its_actor(
    service: Service, stocked: AsyncClient, connect: Connect, make_manifest: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", "new")
    source = make_manifest("Source", "named", kind="github", secretRef="env:HOOK_SECRET", actor="ci:forge")
    await stocked.post("/v1/manifests", json=[source])
    body = json.dumps(PUSH).encode()
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d",
        "Content-Type": "application/json",
        "X-Hub-Signature-256": "sha256=" + hmac.new(b"new", body, "sha256").hexdigest(),
    }
    assert (await connect("").post("/hooks/named", content=body, headers=headers)).status_code == 202
    assert (await hooked(service))[0].actor == "ci:forge"


async def test_githubs_real_payloads(service: Service, post: Post) -> None:
    if not SAMPLES.is_dir():
        pytest.skip("the shared test data is not here")
    files = sorted(SAMPLES.glob("*.json"))
    for file in files:
        answer = await post(file.read_bytes(), event=file.name.split(".")[0], delivery=file.stem)
        assert answer.status_code == 202, (file.stem, answer.text)
    assert {event.id: event.type.removeprefix("dev.entresol.") for event in await hooked(service)} == {
        "check_suite.completed": "pipeline.finished.v1",
        "create": "external.received.v1",
        "delete": "external.received.v1",
        "deployment_status.created": "deployment.reported.v1",
        "package.published": "artifact.published.v1",
        "pull_request.closed": "external.received.v1",
        "push": "change.pushed.v1",
        "release.published": "artifact.published.v1",
        "status": "external.received.v1",
        "workflow_job.in_progress": "external.received.v1",
        "workflow_run.completed": "pipeline.finished.v1",
    }
