"""Intake on a real nats-server: from a webhook to a triggered request, and from a publisher to the log."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from entresol_contracts.events import (
    AnswerRefused,
    ApprovalClosed,
    ApprovalRequested,
    RequestDenied,
    RequirementRequested,
    ResourceDrifted,
    ResourceProvisioned,
)
from entresol_eventing.envelope import Event, encode, now
from entresol_eventing.links import Link, read_keys
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.testing import event, eventually, make_streams, published, running
from entresol_intake.app import create
from entresol_intake.settings import Settings

from services.intake.tests.conftest import ADMIN, Make, client


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as server:
        await make_streams(server)
        yield server


async def test_a_change_that_is_told_becomes_a_request(
    bus: NatsServer, settings: Settings, make_offering: Make, make_manifest: Make
) -> None:
    service = create(settings.model_copy(update={"nats_url": bus.url}))
    async with running(service):
        async with client(service, ADMIN) as admin:
            request = {
                "offering": "database",
                "action": "apply",
                "project": "shop",
                "environment": "dev",
                "name": "${event.data.repository.name}",
                "inputs": {"size": "small"},
            }
            manifests = [
                make_offering(),
                make_manifest("Trigger", "deploy", on="dev.entresol.change.merged.v1", request=request),
                make_manifest("Source", "forge", kind="nats", allow=["/forge"], actor="ci:forge"),
            ]
            assert (await admin.post("/v1/manifests", json=manifests)).status_code == 202
        merged = {
            "specversion": "1.0",
            "id": "1",
            "source": "/forge/cart",
            "type": "dev.entresol.change.merged.v1",
            "data": {"repository": {"name": "cart", "full_name": "shop/cart"}, "branch": "main", "revision": "abc"},
        }
        connection = await nats.connect(bus.url)
        stream = connection.jetstream()
        for _ in range(3):
            await stream.publish("entresol.ingest.forge.merged", json.dumps(merged).encode())
        await stream.publish("entresol.ingest.stranger.merged", json.dumps(merged).encode())
        await connection.close()

        async def submitted() -> list[Event[Any]]:
            return [each for each in await published(service) if each.type == "dev.entresol.request.submitted.v1"]

        (asked,) = await eventually(submitted)
        assert asked.data.resource_id == "shop/dev/database/cart"
        assert (asked.causationid, asked.hopcount, asked.actor) == ("1", 1, "trigger:deploy")

        async def refused() -> list[Event[Any]]:
            return [each for each in await published(service) if each.type == "dev.entresol.delivery.refused.v1"]

        (told,) = await eventually(refused)
        assert (told.data.door, told.data.source) == ("nats", "stranger")
        await asyncio.sleep(0)
        assert len(await submitted()) == 1


async def test_how_an_approval_stands_is_heard_from_policy(bus: NatsServer, settings: Settings) -> None:
    about = {"approval_id": "a-1", "request_id": "r-1", "resource_id": "shop/prod/database/orders", "project": "shop"}
    asked = ApprovalRequested(
        **about,
        policy="p",
        approvers=["group:sre"],
        count=1,
        not_self=True,
        requested_by="user:ada",
        expires_at=now() + timedelta(hours=1),
    )
    refused = AnswerRefused(approval_id="a-1", request_id="r-1", project="shop", by="user:grace", reason="not yet")
    closed = ApprovalClosed(**about, policy="p", because="there is a newer plan")
    link = Link("a-1", "user:grace", ("sre",), now() + timedelta(hours=1))
    assert settings.link_key_file is not None
    path = f"/answers/{read_keys(settings.link_key_file).mint(link)}"
    service = create(settings.model_copy(update={"nats_url": bus.url}))
    async with running(service):
        connection = await nats.connect(bus.url)
        stream = connection.jetstream()
        async with client(service) as anybody:

            async def shows(words: str) -> bool:
                return words in (await anybody.get(path)).text

            await stream.publish("entresol.policy.approval.requested.a-1", encode(event(asked)))
            await eventually(lambda: shows("user:ada"))
            assert (await anybody.post(path, data={"answer": "granted"})).status_code == 202
            given = (await published(service))[-1]
            refusal = event(refused, causationid=given.id)
            await stream.publish("entresol.policy.answer.refused.a-1", encode(refusal))
            await eventually(lambda: shows("not yet"))
            await stream.publish("entresol.policy.approval.closed.a-1", encode(event(closed)))
            await eventually(lambda: shows("there is a newer plan"))
        await connection.close()


async def test_what_is_required_and_what_drifts_is_heard_from_provisioning(
    bus: NatsServer, settings: Settings, make_offering: Make
) -> None:
    place = {"project": "shop", "environment": "dev", "offering": "database"}
    required = RequirementRequested(
        request_id="r-1",
        resource_id="shop/dev/app/cart",
        project="shop",
        run_id="u-1",
        name="db",
        action="create",
        wanted=place
        | {
            "resource_id": "shop/dev/database/cart-db",
            "name": "cart-db",
            "inputs": {"size": "small"},
            "class": "cheap",
        },
        for_request_id="r-2",
        actor={"id": "user:ada", "groups": []},
    )
    drifted = ResourceDrifted(
        **place,
        resource_id="shop/dev/database/orders",
        offering_version="1.0.0",
        name="orders",
        owner="user:ada",
        mode="ask",
        differences=[{"step": "s", "path": "a.yaml", "change": "removed"}],
        checked_at=now(),
    )
    made = ResourceProvisioned(
        **place,
        resource_id=drifted.resource_id,
        offering_version="1.0.0",
        name="orders",
        request_id="r-0",
        owner="user:ada",
        inputs={"size": "small"},
        outputs={},
    )
    service = create(settings.model_copy(update={"nats_url": bus.url}))
    async with running(service):
        async with client(service, ADMIN) as admin:
            assert (await admin.post("/v1/manifests", json=[make_offering()])).status_code == 202
        connection = await nats.connect(bus.url)
        stream = connection.jetstream()
        await stream.publish("entresol.provisioning.resource.provisioned.x", encode(event(made)))

        async def submitted(count: int) -> list[Event[Any]] | None:
            found = [each for each in await published(service) if each.type == "dev.entresol.request.submitted.v1"]
            return found if len(found) >= count else None

        for _ in range(2):  # provisioning repeats itself after a crash, under a new id
            await stream.publish("entresol.provisioning.requirement.requested.r-1", encode(event(required)))
        refused = required.model_copy(update={"for_request_id": "r-3", "action": "update"})
        refused = refused.model_copy(update={"wanted": required.wanted.model_copy(update={"inputs": {"size": 1}})})
        await stream.publish("entresol.provisioning.requirement.requested.r-3", encode(event(refused)))
        for _ in range(2):
            await stream.publish("entresol.provisioning.resource.drifted.x", encode(event(drifted)))
        asked, reconciled = await eventually(lambda: submitted(2))
        assert (asked.subject, asked.data.class_, asked.data.requirement.name) == ("r-2", "cheap", "db")
        assert reconciled.data.question.from_ == ["user:ada"]

        denied = RequestDenied(
            request_id=reconciled.data.request_id,
            resource_id=drifted.resource_id,
            project="shop",
            because=["no"],
            verdicts=[],
        )
        await stream.publish("entresol.policy.request.denied.r-9", encode(event(denied)))
        await stream.publish("entresol.provisioning.resource.drifted.x", encode(event(drifted)))
        again = (await eventually(lambda: submitted(3)))[-1]
        assert again.data.resource_id == drifted.resource_id
        types = [each.type.split(".", 2)[2] for each in await published(service)]
        assert types.count("requirement.refused.v1") == 1
        assert types.count("request.submitted.v1") == 3
        await connection.close()
