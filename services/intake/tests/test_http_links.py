"""Answering by a signed link: what the page shows, what it takes, and that nothing else is let in or given away."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from entresol_contracts import Payload
from entresol_contracts.events import (
    AnswerCounted,
    AnswerRefused,
    ApprovalClosed,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    PlanOutline,
)
from entresol_eventing.envelope import Event, now
from entresol_eventing.links import Keys, Link
from entresol_eventing.reactions import Outcome
from entresol_eventing.service import Service
from entresol_eventing.testing import event, eventually, published
from entresol_intake.app import create
from entresol_intake.handlers import ENDINGS, Handlers
from entresol_intake.settings import Settings
from entresol_intake.shelf import Shelf
from entresol_intake.store import add, approvals
from httpx import AsyncClient
from sqlmodel import Session

from services.intake.tests.conftest import Connect, Document, Enter

Tell = Callable[[Event[Any]], Awaitable[Event[Any]]]
KEY = b"k" * 32
FORM = "application/x-www-form-urlencoded"
HOSTILE = "<script>alert(1)</script>\"'& \x1b[31m\u202e</title></style>"
RESOURCE = "shop/prod/database/orders"
ABOUT = {"approval_id": "a-1", "request_id": "r-1", "resource_id": RESOURCE, "project": "shop", "policy": "p"}


def asked(**fields: Any) -> Event[ApprovalRequested]:
    sane = {
        "approvers": ["group:sre", "user:linus"],
        "count": 1,
        "not_self": True,
        "requested_by": "user:ada",
        "expires_at": now() + timedelta(days=1),
        "because": "production needs a second pair of eyes",
        "offering": "database",
        "action": "create",
        "reason": "black friday",
    }
    return event(ApprovalRequested(**(ABOUT | sane | fields)), correlationid="r-1")


def plan(**fields: Any) -> PlanOutline:
    sane = {"digest": "sha256:aa", "adds": 3, "changes": 2, "destroys": 1, "cost": 40, "summary": ["create a.b"]}
    return PlanOutline(**(sane | fields))


def ending(model: type[Payload]) -> Event[Payload]:
    more: Document = {"because": "there is a newer plan"} if model is ApprovalClosed else {"answers": []}
    return event(model(**ABOUT, **more))


def token_of(**fields: Any) -> str:
    sane: Document = {
        "approval_id": "a-1",
        "actor": "user:grace",
        "groups": ("sre",),
        "expires_at": now() + timedelta(hours=1),
    }
    return Keys([KEY]).mint(Link(**(sane | fields)))


class Reader(HTMLParser):
    """Reads a page as a browser would, and refuses what is not well-formed."""

    VOID = frozenset({"meta", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@pytest.fixture
def tell(service: Service) -> Tell:
    """Let intake hear what policy says."""
    handlers = Handlers(Shelf())

    async def hear(said: Event[Any]) -> Event[Any]:
        def unit(session: Session) -> Generator[Outcome, None, None]:
            if isinstance(said.data, ApprovalRequested):
                yield from handlers.remember_approval(said, session)
            elif isinstance(said.data, AnswerCounted | AnswerRefused):
                yield from handlers.reopen_link(said, session)
            else:
                yield from handlers.close_approval(said, session)

        await service.transact(unit)
        return said

    return hear


@pytest.fixture
async def anybody(connect: Connect) -> AsyncIterator[AsyncClient]:
    async with connect("") as client:
        yield client


async def answers(service: Service) -> list[Event[Any]]:
    return [each for each in await published(service) if each.type == "dev.entresol.approval.answered.v1"]


async def test_the_page_says_what_is_asked_of_whom(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked(plan=plan(unknown=["dns"])))
    answer = await anybody.get(f"/answers/{token_of()}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = Reader(answer.text)
    for shown in (
        "user:grace",
        "sre",
        RESOURCE,
        "create",
        "database",
        "user:ada",
        "black friday",
        "production needs a second pair of eyes",
        "1 of group:sre, user:linus",
        "3 to add",
        "2 to change",
        "1 to destroy",
        "40.00 a month",
        "create a.b",
        "dns",
        "sha256:aa",
        "UTC",
        "Grant",
        "Reject",
    ):
        assert shown in page.text, shown
    assert page.tags.count("button") == 2
    assert await answers(service) == []


async def test_looking_never_answers(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked())
    path = f"/answers/{token_of()}"
    for query in ("", "?answer=granted", "?reason=x&answer=rejected"):
        assert (await anybody.get(path + query)).status_code == 200
    assert (await anybody.head(path)).status_code == 405
    assert await answers(service) == []


async def test_an_answer_by_link_is_that_of_the_person_it_names(
    service: Service, anybody: AsyncClient, tell: Tell
) -> None:
    question = await tell(asked())
    sent = await anybody.post(f"/answers/{token_of()}", data={"answer": "granted", "reason": "looks\r\ngood "})
    assert (sent.status_code, sent.headers["content-type"]) == (202, "text/html; charset=utf-8")
    assert "You have granted it" in Reader(sent.text).text
    (said,) = await answers(service)
    assert (said.subject, said.partitionkey, said.actor) == ("a-1", RESOURCE, "user:grace")
    assert (said.causationid, said.correlationid) == (question.id, "r-1")
    assert (said.data.answer, said.data.by, said.data.groups) == ("granted", "user:grace", ["sre"])
    assert (said.data.reason, said.data.request_id, said.data.project) == ("looks\ngood", "r-1", "shop")
    seen = Reader((await anybody.get(f"/answers/{token_of()}")).text)
    assert "You have granted it" in seen.text
    assert "button" not in seen.tags


async def test_a_reason_may_be_left_out(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked())
    assert (await anybody.post(f"/answers/{token_of()}", data={"answer": "rejected", "reason": " "})).status_code == 202
    (said,) = await answers(service)
    assert (said.data.answer, said.data.reason) == ("rejected", None)


async def test_a_form_that_is_sent_again_answers_once(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked())
    form = {"answer": "granted"}
    sent = await asyncio.gather(*(anybody.post(f"/answers/{token_of()}", data=form) for _ in range(20)))
    assert {each.status_code for each in sent} == {202}
    again = token_of(expires_at=now() + timedelta(days=2))
    assert (await anybody.post(f"/answers/{again}", data=form)).status_code == 202
    other = await anybody.post(f"/answers/{again}", data={"answer": "rejected"})
    assert other.status_code == 409
    assert "You have granted it" in Reader(other.text).text
    assert len(await answers(service)) == 1


async def test_others_answer_by_links_of_their_own(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked(count=2))
    for actor in ("user:grace", "user:linus"):
        sent = await anybody.post(f"/answers/{token_of(actor=actor)}", data={"answer": "granted"})
        assert sent.status_code == 202
    assert [each.data.by for each in await answers(service)] == ["user:grace", "user:linus"]


RULED: Document = {"at": now(), "missing": 1, "missing_from": ["group:sre"]}


async def test_who_has_taken_an_answer_back_may_use_the_link_again(
    service: Service, anybody: AsyncClient, enter: Enter, tell: Tell
) -> None:
    await tell(asked())
    grace = await enter(actor="user:grace")
    for given in ("granted", "rejected"):
        assert (await anybody.post(f"/answers/{token_of()}", data={"answer": given})).status_code == 202
        assert (await grace.post("/v1/approvals/a-1/withdraw")).status_code == 202
        assert "button" not in Reader((await anybody.get(f"/answers/{token_of()}")).text).tags, "not ruled on yet"
        await tell(event(AnswerCounted(**ABOUT, **RULED, by="user:grace", said="withdrawn")))
    assert [each.data.answer for each in await answers(service)] == ["granted", "rejected"]


async def test_an_answer_that_did_not_count_is_said_and_may_be_given_again(
    service: Service, anybody: AsyncClient, tell: Tell
) -> None:
    await tell(asked())
    path = f"/answers/{token_of()}"
    assert (await anybody.post(path, data={"answer": "granted"})).status_code == 202
    refused = AnswerRefused(
        approval_id="a-1", request_id="r-1", project="shop", by="user:grace", reason="not entitled <yet>"
    )
    await tell(event(refused, causationid="of another answer of hers"))
    assert "You have granted it" in Reader((await anybody.get(path)).text).text
    (given,) = await answers(service)
    await tell(event(refused, causationid=given.id))
    page = Reader((await anybody.get(path)).text)
    assert "Your answer did not count: not entitled <yet>" in page.text
    assert "button" in page.tags
    again = await anybody.post(path, data={"answer": "granted"})
    assert "You have granted it" in Reader(again.text).text
    assert len(await answers(service)) == 2


@pytest.mark.parametrize("model", list(ENDINGS))
async def test_what_is_over_is_said_and_takes_no_answer(
    service: Service, anybody: AsyncClient, tell: Tell, model: type[Payload]
) -> None:
    assert model in (ApprovalGranted, ApprovalRejected, ApprovalExpired, ApprovalClosed)
    await tell(asked())
    await tell(ending(model))
    await tell(ending(ApprovalExpired))
    path = f"/answers/{token_of()}"
    looked, sent = await anybody.get(path), await anybody.post(path, data={"answer": "granted"})
    assert (looked.status_code, sent.status_code) == (200, 409)
    word = {"granted": ": granted", "rejected": ": rejected", "expired": "in time", "closed": "newer plan"}
    for each in (looked, sent):
        assert word[ENDINGS[model]] in Reader(each.text).text
        assert "button" not in Reader(each.text).tags
    assert await answers(service) == []


async def test_a_review_is_signed_off_by_the_same_page(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked(review=True))
    path = f"/answers/{token_of()}"
    page = Reader((await anybody.get(path)).text)
    assert "Sign off" in page.text
    assert "Object" in page.text
    assert (await anybody.post(path, data={"answer": "granted"})).status_code == 202
    assert [each.data.answer for each in await answers(service)] == ["granted"]


async def test_what_others_wrote_can_not_change_the_page(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    texts = {"because": HOSTILE, "reason": HOSTILE, "requested_by": HOSTILE, "approvers": [HOSTILE], "action": HOSTILE}
    hostile_plan = plan(summary=[HOSTILE], unknown=[HOSTILE], digest=HOSTILE)
    await tell(asked(**texts, policy=HOSTILE, offering=HOSTILE, plan=hostile_plan))
    page = await anybody.get(f"/answers/{token_of(actor=f'user:{HOSTILE}', groups=(HOSTILE,))}")
    read = Reader(page.text)
    assert page.status_code == 200
    assert "script" not in read.tags
    assert [read.tags.count(tag) for tag in ("title", "style", "form")] == [1, 1, 1]
    assert "<script>alert(1)</script>" in read.text  # as text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e]", page.text)


async def test_the_page_needs_and_allows_nothing_but_itself(anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked(plan=plan()))
    for answer in (
        await anybody.get(f"/answers/{token_of()}"),
        await anybody.get("/answers/nonsense"),
        await anybody.post(f"/answers/{token_of()}", data={"answer": "granted"}),
    ):
        policy = answer.headers["content-security-policy"]
        (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert policy == (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        read = Reader(answer.text)
        assert not {"script", "img", "link", "iframe", "a"} & set(read.tags)
        assert not [
            name for name, _ in read.attributes if name in ("src", "href", "style", "action") or "on" in name[:2]
        ]
        assert "url(" not in style


async def test_a_plan_of_a_thousand_lines_is_shown_whole(anybody: AsyncClient, tell: Tell) -> None:
    lines = [f"create terraform_data.this[{number}]" for number in range(1000)]
    await tell(asked(plan=plan(summary=lines)))
    page = Reader((await anybody.get(f"/answers/{token_of()}")).text)
    assert page.tags.count("li") == 1004
    assert lines[-1] in page.text


def wrong_tokens() -> Iterator[str]:
    token = token_of()
    yield from ("x", "...", "1.e30.x", "%00", "a" * 5000, token[:-1], token + "A", token.upper())
    yield Keys([b"f" * 32]).mint(Link("a-1", "user:grace", (), now() + timedelta(hours=1)))
    yield token_of(approval_id="unknown")
    for index in range(0, len(token), 7):
        yield token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]


async def test_what_is_no_link_is_told_nothing(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked())
    pages = set()
    for token in wrong_tokens():
        for answer in (
            await anybody.get(f"/answers/{token}"),
            await anybody.post(f"/answers/{token}", data={"answer": "granted"}),
        ):
            assert answer.status_code == 404, token
            pages.add(answer.text)
    assert len(pages) == 1
    assert await answers(service) == []


async def test_a_link_ends_with_its_time(service: Service, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked())
    over = token_of(expires_at=now() - timedelta(seconds=1))
    for answer in (
        await anybody.get(f"/answers/{over}"),
        await anybody.post(f"/answers/{over}", data={"answer": "granted"}),
    ):
        assert answer.status_code == 410
        assert not [word for word in (RESOURCE, "user:grace", "user:ada") if word in answer.text]
    assert await answers(service) == []


async def test_a_key_is_rotated_while_intake_runs(settings: Settings, anybody: AsyncClient, tell: Tell) -> None:
    await tell(asked())
    assert settings.link_key_file is not None
    new = b"n" * 32
    by_new = Keys([new]).mint(Link("a-1", "user:grace", (), now() + timedelta(hours=1)))
    by_old = token_of()
    for lines, old_status, new_status in (([KEY], 200, 404), ([new, KEY], 200, 200), ([new], 404, 200)):
        settings.link_key_file.write_bytes(b"\n".join(lines))
        assert (await anybody.get(f"/answers/{by_old}")).status_code == old_status
        assert (await anybody.get(f"/answers/{by_new}")).status_code == new_status
    settings.link_key_file.unlink()
    answer = await anybody.get(f"/answers/{by_new}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert str(settings.link_key_file) not in answer.text


async def test_without_a_key_there_are_no_links(
    service: Service, settings: Settings, anybody: AsyncClient, tell: Tell
) -> None:
    await tell(asked())
    settings.link_key_file = None
    assert (await anybody.get(f"/answers/{token_of()}")).status_code == 404
    assert (await anybody.post(f"/answers/{token_of()}", data={"answer": "granted"})).status_code == 404


async def test_a_key_file_without_keys_stops_the_start(settings: Settings, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("short\n")
    with pytest.raises(ValueError, match="at least 32"):
        await create(settings.model_copy(update={"link_key_file": empty, "data": tmp_path / "other"})).start()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"answer", 422),
        (b"answer=maybe", 422),
        (b"reason=x", 422),
        (b"answer=granted&answer=rejected", 422),
        (b"answer=granted&reason=a&reason=b", 422),
        (b"answer=granted&by=user:ada", 422),
        (b"answer=granted&reason=%00", 422),
        (b"answer=granted&reason=%FF", 422),
        (b"answer=granted&reason=%ED%A0%80", 422),
        (b"answer=granted&reason=\xff", 422),
        (b"&" * 5000, 422),
        (urlencode({"answer": "granted", "reason": "x" * 2001}).encode(), 422),
        (b"answer=granted&reason=" + b"x" * 33_000, 413),
        (urlencode({"answer": "granted", "reason": "\U0001f600" * 2000}).encode(), 202),
    ],
)
async def test_only_the_form_of_the_page_is_taken(
    service: Service, anybody: AsyncClient, tell: Tell, body: bytes, status: int
) -> None:
    await tell(asked())
    path = f"/answers/{token_of()}"
    assert (await anybody.post(path, content=body, headers={"Content-Type": FORM})).status_code == status
    assert len(await answers(service)) == (status == 202)

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    again = await anybody.post(path, content=pieces(), headers={"Content-Type": FORM})
    assert again.status_code == status
    for other in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
        answer = await anybody.post(path, content=b'{"answer":"granted"}', headers={"Content-Type": other})
        assert answer.status_code == 415


async def test_answers_by_link_are_throttled_but_not_by_strangers(
    service: Service, anybody: AsyncClient, tell: Tell
) -> None:
    await tell(asked())
    for _ in range(100):
        assert (await anybody.post("/answers/nonsense", data={"answer": "granted"})).status_code == 404
    assert (await anybody.post(f"/answers/{token_of()}", data={"answer": "granted"})).status_code == 202

    async def is_throttled() -> bool:
        return (await anybody.post(f"/answers/{token_of()}", data={"answer": "granted"})).status_code == 503

    await eventually(is_throttled)
    assert len(await answers(service)) == 1


async def test_a_full_outbox_is_said_on_a_page(
    service: Service, anybody: AsyncClient, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(asked())
    monkeypatch.setattr(service.settings, "outbox_limit", 0)
    answer = await anybody.post(f"/answers/{token_of()}", data={"answer": "granted"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert await answers(service) == []


async def test_an_approval_from_before_there_were_links_still_has_a_page(
    service: Service, anybody: AsyncClient
) -> None:
    row: Document = {name: ABOUT[name] for name in ("approval_id", "request_id", "resource_id", "project")}
    row |= {"cause": event(asked().data).cause.model_dump(mode="json"), "document": {}, "ended": None}

    def unit(session: Session) -> Generator[Outcome, None, None]:
        add(session, approvals, row)
        yield from ()

    await service.transact(unit)
    page = Reader((await anybody.get(f"/answers/{token_of()}")).text)
    assert RESOURCE in page.text
    assert "Grant" in page.text
