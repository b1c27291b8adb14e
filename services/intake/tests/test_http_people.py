"""Tokens, approvals and dead letters: who may do what, and what is said when they do."""

from collections.abc import Generator
from datetime import timedelta

import pytest
from entresol_contracts.events import ApprovalRequested
from entresol_eventing.access import token_hash
from entresol_eventing.envelope import Event, now
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.testing import event, published
from entresol_intake.app import create
from entresol_intake.handlers import Handlers
from entresol_intake.settings import Settings
from entresol_intake.shelf import Shelf
from httpx import AsyncClient
from sqlmodel import Session

from services.intake.tests.conftest import Connect, Document, Enter


async def test_the_admin_of_the_file_is_let_in_and_said_once(
    service: Service, settings: Settings, admin: AsyncClient
) -> None:
    assert (await admin.post("/v1/manifests?dry_run=true", json=[])).status_code == 422
    (first,) = await published(service)
    assert (first.type, first.subject) == ("dev.entresol.token.issued.v1", "bootstrap")
    await service.stop()
    again = create(settings)
    await again.start()
    assert len(await published(again)) == 1
    await again.stop()
    assert settings.admin_token_file is not None
    settings.admin_token_file.write_text("entresol_another-admin-token-0123456789")
    replaced = create(settings)
    await replaced.start()
    said = [each.type.split(".", 2)[2] for each in await published(replaced)]
    assert said == ["token.issued.v1", "token.revoked.v1", "token.issued.v1"]
    await replaced.stop()
    await service.start()


async def test_a_token_is_shown_once_and_told_only_as_a_hash(
    service: Service, admin: AsyncClient, connect: Connect
) -> None:
    answer = await admin.post(
        "/v1/tokens",
        json={"actor": "user:ada", "groups": ["sre"], "role": "developer", "projects": ["shop"], "expires_in": "90d"},
    )
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    said = (await published(service))[-1]
    assert said.data.hash == token_hash(body["token"])
    assert (said.subject, said.data.projects, said.data.groups) == (body["id"], ["shop"], ["sre"])
    everything = "".join(each.model_dump_json() for each in await published(service))
    assert body["token"] not in everything
    assert (await connect(body["token"]).post("/v1/requests", json={})).status_code == 422


async def test_a_revoked_token_is_refused_at_once(service: Service, admin: AsyncClient, connect: Connect) -> None:
    body = (await admin.post("/v1/tokens", json={"actor": "user:ada", "role": "developer"})).json()
    ada = connect(body["token"])
    assert (await ada.post("/v1/requests", json={})).status_code == 422
    assert (await admin.delete(f"/v1/tokens/{body['id']}")).status_code == 202
    answer = await ada.post("/v1/requests", json={})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await admin.delete(f"/v1/tokens/{body['id']}")).status_code == 202
    assert (await admin.delete("/v1/tokens/unknown")).status_code == 404
    revoked = [each for each in await published(service) if each.type == "dev.entresol.token.revoked.v1"]
    assert [(each.subject, each.data.by) for each in revoked] == [(body["id"], "user:admin")]


async def test_an_expired_token_is_refused(
    admin: AsyncClient, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (await admin.post("/v1/tokens", json={"actor": "user:ada", "role": "viewer", "expires_in": "1h"})).json()
    ada = connect(body["token"])
    assert (await ada.post("/v1/requests", json={})).status_code == 403
    monkeypatch.setattr("entresol_intake.tokens.now", lambda: now() + timedelta(hours=2))
    assert (await ada.post("/v1/requests", json={})).status_code == 401


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"actor": None}, "/actor"),
        ({"actor": "ada"}, "/actor"),
        ({"actor": "system:expiry"}, "/actor"),
        ({"actor": "trigger:deploy"}, "/actor"),
        ({"actor": "user:a b"}, "/actor"),
        ({"role": "king"}, "/role"),
        ({"role": None}, "/role"),
        ({"groups": "sre"}, "/groups"),
        ({"groups": [1]}, "/groups/0"),
        ({"projects": []}, "/projects"),
        ({"projects": ["a/b"]}, "/projects/0"),
        ({"expires_in": "soon"}, "/expires_in"),
        ({"expires_in": "900000000w"}, "/expires_in"),
        ({"token": "mine"}, "/token"),
    ],
)
async def test_a_token_must_make_sense(admin: AsyncClient, fields: Document, pointer: str) -> None:
    sane = {"actor": "user:ada", "role": "developer"}
    answer = await admin.post("/v1/tokens", json=sane | fields)
    assert answer.status_code == 422
    assert pointer in [each["pointer"] for each in answer.json()["violations"]]


async def test_a_token_can_not_reach_further_than_the_one_that_issues_it(enter: Enter) -> None:
    deputy = await enter("admin", actor="user:deputy", projects=["shop"])
    for projects, status in ((["shop"], 201), (["bank"], 403), (["*"], 403)):
        body = {"actor": "user:x", "role": "viewer", "projects": projects}
        assert (await deputy.post("/v1/tokens", json=body)).status_code == status


@pytest.fixture
async def approval(service: Service) -> Event[ApprovalRequested]:
    """An approval that policy asked for, in project shop."""
    asked = event(
        ApprovalRequested(
            approval_id="a-1",
            request_id="r-1",
            resource_id="shop/prod/database/orders",
            project="shop",
            policy="p",
            approvers=["group:sre"],
            count=1,
            not_self=True,
            requested_by="user:ada",
            expires_at=now(),
        ),
        correlationid="r-1",
    )

    def unit(session: Session) -> Generator[Outcome, None, None]:
        yield from Handlers(Shelf()).remember_approval(asked, session)

    for _ in range(2):
        await service.transact(unit)
    return asked


@pytest.mark.parametrize("given", ["granted", "rejected"])
async def test_an_answer_joins_the_chain_of_its_question(
    service: Service, enter: Enter, approval: Event[ApprovalRequested], given: str
) -> None:
    grace = await enter(actor="user:grace", groups=["sre"], projects=["shop"])
    answer = await grace.post("/v1/approvals/a-1", json={"answer": given, "reason": "because"})
    said = (await published(service))[-1]
    assert (answer.status_code, answer.json()) == (202, {"id": "a-1", "by": "user:grace", "event": said.id})
    assert (said.type, said.subject, said.partitionkey) == (
        "dev.entresol.approval.answered.v1",
        "a-1",
        "shop/prod/database/orders",
    )
    assert (said.causationid, said.correlationid, said.actor) == (approval.id, "r-1", "user:grace")
    assert (said.data.answer, said.data.by, said.data.groups) == (given, "user:grace", ["sre"])


@pytest.mark.parametrize(
    ("door", "body", "fact"),
    [
        ("withdraw", {"reason": "read it again"}, "answer.withdrawn"),
        ("withdraw", None, "answer.withdrawn"),
        ("delegate", {"to": "user:linus", "reason": "on leave"}, "approval.delegated"),
        ("delegate", {"to": "user:linus"}, "approval.delegated"),
    ],
)
async def test_an_answer_is_taken_back_or_handed_on_in_the_same_chain(
    service: Service, enter: Enter, approval: Event[ApprovalRequested], door: str, body: Document | None, fact: str
) -> None:
    grace = await enter(actor="user:grace", groups=["sre"], projects=["shop"])
    answer = await grace.post(f"/v1/approvals/a-1/{door}", json=body)
    said = (await published(service))[-1]
    assert (answer.status_code, answer.json()) == (202, {"id": "a-1", "by": "user:grace", "event": said.id})
    assert (said.type, said.subject, said.partitionkey) == (
        f"dev.entresol.{fact}.v1",
        "a-1",
        "shop/prod/database/orders",
    )
    assert (said.causationid, said.correlationid, said.actor) == (approval.id, "r-1", "user:grace")
    assert (said.data.by, said.data.groups, said.data.request_id) == ("user:grace", ["sre"], "r-1")
    assert said.data.reason == (body or {}).get("reason")
    assert getattr(said.data, "to", None) == (body or {}).get("to")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/to"),
        ({"to": None}, "/to"),
        ({"to": 5}, "/to"),
        ({"to": "linus"}, "/to"),
        ({"to": "user:"}, "/to"),
        ({"to": "user:a b"}, "/to"),
        ({"to": "user:a\nb"}, "/to"),
        ({"to": "group:sre"}, "/to"),
        ({"to": "ci:robot"}, "/to"),
        ({"to": "user:" + "x" * 255}, "/to"),
        ({"to": "user:grace"}, "/to"),
        ({"to": "user:linus", "reason": ""}, "/reason"),
        ({"to": "user:linus", "for": "1h"}, "/for"),
    ],
)
async def test_a_question_is_handed_on_to_another_person_only(
    service: Service, enter: Enter, approval: Event[ApprovalRequested], body: Document, pointer: str
) -> None:
    grace = await enter(actor="user:grace")
    before = len(await published(service))
    answer = await grace.post("/v1/approvals/a-1/delegate", json=body)
    assert answer.status_code == 422
    assert pointer in [each["pointer"] for each in answer.json()["violations"]]
    assert len(await published(service)) == before


async def test_another_projects_approval_is_not_found(enter: Enter, approval: Event[ApprovalRequested]) -> None:
    stranger = await enter(projects=["bank"])
    for approval_id in ("a-1", "unknown", "x" * 500, "a%00b"):
        for door, body in (
            ("", {"answer": "granted"}),
            ("/withdraw", {"reason": "no"}),
            ("/delegate", {"to": "user:linus"}),
        ):
            assert (await stranger.post(f"/v1/approvals/{approval_id}{door}", json=body)).status_code == 404
    assert (await stranger.post("/v1/approvals/a-1", json={"answer": "maybe"})).status_code == 422


async def test_operators_order_about_dead_letters(service: Service, enter: Enter) -> None:
    operator = await enter("platform", actor="user:op")
    assert (await operator.post("/v1/dead-letters/redrive", json={"service": "policy"})).status_code == 202
    body = {"service": "catalog", "message_id": "m-1", "reason": "not needed"}
    assert (await operator.post("/v1/dead-letters/discard", json=body)).status_code == 202
    redrive, discard = (await published(service))[-2:]
    assert (redrive.type, redrive.data.service, redrive.data.by) == (
        "dev.entresol.redrive.requested.v1",
        "policy",
        "user:op",
    )
    assert (discard.subject, discard.data.reason) == ("m-1", "not needed")
    typed = {"service": "policy", "event_type": "dev.entresol.request.submitted.v1"}
    assert (await operator.post("/v1/dead-letters/redrive", json=typed)).status_code == 202
    assert (await published(service))[-1].data.event_type == typed["event_type"]
    assert (await operator.post("/v1/dead-letters/redrive", json=typed | {"message_id": "m"})).status_code == 422
    assert (await operator.post("/v1/dead-letters/redrive", json=typed | {"event_type": "x"})).status_code == 422
    assert (await operator.post("/v1/dead-letters/redrive", json={"service": "nothing"})).status_code == 422
    assert (await operator.post("/v1/dead-letters/discard", json={"service": "policy"})).status_code == 422


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        ("viewer", "POST", "/v1/requests"),
        ("publisher", "POST", "/v1/requests/x/cancel"),
        ("viewer", "POST", "/v1/requests/x/override"),
        ("developer", "POST", "/v1/manifests"),
        ("developer", "DELETE", "/v1/manifests/Offering/x"),
        ("viewer", "POST", "/v1/approvals/x"),
        ("viewer", "POST", "/v1/approvals/x/withdraw"),
        ("publisher", "POST", "/v1/approvals/x/delegate"),
        ("viewer", "POST", "/v1/locks"),
        ("publisher", "DELETE", "/v1/locks/x"),
        ("developer", "POST", "/v1/waivers"),
        ("developer", "DELETE", "/v1/waivers/x"),
        ("viewer", "POST", "/v1/events"),
        ("platform", "POST", "/v1/tokens"),
        ("platform", "DELETE", "/v1/tokens/x"),
        ("developer", "POST", "/v1/dead-letters/redrive"),
    ],
)
async def test_each_role_may_only_do_its_own(enter: Enter, connect: Connect, role: str, method: str, path: str) -> None:
    assert (await (await enter(role)).request(method, path)).status_code == 403
    assert (await connect("").request(method, path)).status_code == 401
    assert (await connect("entresol_nonsense").request(method, path)).status_code == 401
