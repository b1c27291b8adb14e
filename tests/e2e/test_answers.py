"""Answers to approvals through every door at once: commands, HTTP, and signed links that a receiver was really sent."""

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from entresol.demo.receiver import Receiver, receiving
from entresol.failures import Refused

from tests.e2e.people import Town, eventually
from tests.e2e.test_policies import asks, manifest, policy

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
READERS = {"grace": ["sre"], "kim": [], "zoe": ["devs"], "mona": ["managers"]}
LINKED = ("approval.requested", "approval.reminded", "approval.escalated")

Link = Callable[..., str]


@pytest.fixture(scope="module")
def mailbox(place: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """Where everybody with a channel of their own is sent links."""
    folder = tmp_path_factory.mktemp("mailbox")
    (folder / "secret").write_text(SECRET)
    with receiving(SECRET) as receiver:
        manifests = []
        for name, groups in READERS.items():
            reader = {"actor": f"user:{name}", "groups": groups}
            spec = {"kind": "webhook", "url": f"{receiver.url}?{name}", "secretRef": f"file:{folder / 'secret'}"}
            manifests.append(manifest("Channel", name, {**spec, "answersAs": reader}))
            told = {"on": [f"dev.entresol.{one}.v1" for one in LINKED], "channel": name}
            manifests.append(manifest("Route", name, {**told, "when": 'event.data.project.startsWith("linked")'}))
        place.apply(folder, "\n---\n".join(map(json.dumps, manifests)))
        yield receiver


@pytest.fixture
def link(mailbox: Receiver) -> Link:
    """The link by which somebody is asked, once it was delivered."""

    def find(approval: str, name: str, fact: str = "approval.requested") -> str:
        def look() -> str | None:
            for one in mailbox.taken:
                url = str(one.event["data"].get("answer_url") or "/..")
                if one.event["type"] == f"dev.entresol.{fact}.v1" and says(url)[:2] == [approval, f"user:{name}"]:
                    return url
            return None

        return eventually(look, f"a link for {name}", lambda: [one.event for one in mailbox.taken])

    return find


def says(url: str) -> list[Any]:
    """What a link is about: the approval, who answers by it, in which groups, until when."""
    said = url.rpartition("/")[2].split(".")[1]
    found: list[Any] = json.loads(base64.urlsafe_b64decode(said + "==") or "[]")
    return found


def shown(url: str) -> str:
    """The page behind a link, once intake knows what it asks."""

    def look() -> str | None:
        answer = httpx.get(url)
        return answer.text if answer.status_code == 200 else None

    return eventually(look, f"a page at {url}", lambda: httpx.get(url).text)


def sends(url: str, answer: str, reason: str = "") -> int:
    return httpx.post(url, data={"answer": answer, "reason": reason}).status_code


def test_links_commands_and_delegations_meet_in_one_approval(place: Town, link: Link, tmp_path: Path) -> None:
    place.apply(tmp_path, policy("linked", "linked", [asks(count=2)]))
    ada, bob, grace = place.person("ada"), place.person("bob", "sre"), place.person("grace", "sre")
    asked = ada.asks("a", project="linked")
    approval = str(ada.open_approval(asked)["id"])
    graces, zoes, kims = (link(approval, name) for name in ("grace", "zoe", "kim"))

    for _ in range(2):
        assert "May this be done?" in shown(graces)
    assert httpx.head(graces).status_code == 405
    assert ada.client.approval(approval)["answers"] == ada.client.approval(approval)["unruled"] == []

    assert sends(graces, "granted", "by link") == 202
    assert sends(graces, "granted", "twice") == 202
    assert sends(graces, "rejected") == 409
    assert "answered already" in grace.fails("approve", approval)
    seen = ada.client.approval(approval)
    assert [(one["by"], one["reason"], one["stands_for"]) for one in seen["answers"]] == [
        ("user:grace", "by link", ["group:sre"])
    ]
    assert (seen["missing"], seen["missing_from"]) == (1, ["group:sre"])
    assert "You have granted it" in shown(graces), "what she said elsewhere did not count, but this did"

    grace.does("withdraw", approval)
    eventually(lambda: "<button" in shown(graces), "the link to answer again", lambda: shown(graces))
    assert sends(graces, "granted", "after all") == 202

    assert sends(zoes, "granted") == 202
    eventually(lambda: "not an approver" in shown(zoes), "zoe to be told", lambda: shown(zoes))
    assert sends(kims, "granted") == 202
    eventually(lambda: "not an approver" in shown(kims), "kim to be told", lambda: shown(kims))
    assert "own request" in bob.fails("delegate", approval, "--to", "user:ada")
    bob.does("delegate", approval, "--to", "user:kim", "--reason", "on leave")
    assert sends(kims, "granted", "for bob") == 202
    ended = ada.sees(asked, "succeeded")["approvals"][0]
    assert [(one["by"], one["in_place_of"]) for one in ended["answers"]] == [
        ("user:grace", None),
        ("user:kim", "user:bob"),
    ]
    assert "granted already" in bob.fails("approve", approval)
    assert "granted already" in grace.fails("withdraw", approval)
    eventually(lambda: "It is decided" in shown(zoes), "the pages to tell the end", lambda: shown(zoes))
    assert {sends(url, "rejected") for url in (graces, zoes, kims)} == {409}
    assert "in the place of user:bob" in ada.does("status", asked)
    assert "counts" in ada.does("explain", asked)


def test_a_link_that_is_not_ours_leads_nowhere(place: Town, link: Link, tmp_path: Path) -> None:
    place.apply(tmp_path, policy("linked-2", "linked-2", [asks()]))
    ada = place.person("ada")
    asked = ada.asks("a", project="linked-2")
    approval = str(ada.open_approval(asked)["id"])
    graces, zoes = link(approval, "grace"), link(approval, "zoe")
    version, said, mac = graces.rpartition("/")[2].split(".")
    forged = base64.urlsafe_b64encode(json.dumps([approval, "user:grace", ["sre"], 2**33]).encode()).decode()
    theirs = zoes.rpartition("/")[2].split(".")[1]
    for token in (
        f"{version}.{forged.rstrip('=')}.{mac}",
        f"{version}.{theirs}.{mac}",
        f"{version}.{said}.",
        f"{version}.{said}.{mac}=",
        f"{version}.{said}.{mac.swapcase()}",
        f"{version}.{said}",
        f"2.{said}.{mac}",
        "%00",
        "ä" * 10,
        "a" * 5000,
    ):
        url = f"{place.child.url}/intake/answers/{token}"
        assert {httpx.get(url).status_code, sends(url, "granted")} <= {404, 414}, token
    assert ada.client.approval(approval)["unruled"] == []
    assert sends(graces, "rejected", "no <b>&") == 202
    assert ada.sees(asked, "rejected")["because"] == ["no <b>&"]


def test_others_are_asked_after_a_reminder_and_then_it_is_too_late(place: Town, link: Link, tmp_path: Path) -> None:
    patient = asks(within="5s", remind="1s", escalate={"after": "2s", "to": ["group:managers"]})
    place.apply(tmp_path, policy("linked-3", "linked-3", [patient]))
    ada, mona = place.person("ada"), place.person("mona", "managers")
    first, second = ada.asks("a", project="linked-3"), ada.asks("b", project="linked-3")
    early, late = (str(ada.open_approval(one)["id"]) for one in (first, second))
    monas, graces = link(early, "mona"), link(late, "grace")
    assert sends(monas, "granted", "too early") == 202
    eventually(lambda: "not an approver" in shown(monas), "mona to be told", lambda: shown(monas))
    link(early, "mona", "approval.reminded")
    again = link(early, "mona", "approval.escalated")
    assert "group:managers" in ada.does("policy", "explain", first)
    assert sends(again, "granted", "in time") == 202
    ada.sees(first, "succeeded")
    assert ada.client.approval(early)["answers"][0]["stands_for"] == ["group:sre"]
    facts = ada.facts(first)
    assert facts.index("approval.reminded") < facts.index("approval.escalated") < facts.index("answer.counted")
    ada.sees(second, "expired")
    eventually(lambda: httpx.get(graces).status_code == 410, "the link to end", lambda: httpx.get(graces).text)
    assert sends(graces, "granted") == 410
    assert "too late" in mona.fails("approve", late)
    assert [one["by"] for one in ada.client.approval(late)["refused"]] == ["user:mona"]


def test_each_of_many_answers_at_once_is_ruled_on_once(place: Town, tmp_path: Path) -> None:
    place.apply(tmp_path, policy("crowd", "crowd", [asks(count=3)]))
    ada = place.person("ada")
    crowd = [place.person(name, "sre") for name in ("bob", "eve", "grace", "mia", "sre5")]
    asked = ada.asks("a", project="crowd")
    approval = str(ada.open_approval(asked)["id"])
    with ThreadPoolExecutor(50) as threads:
        said = list(threads.map(lambda number: crowd[number % 5].client.answer(approval, "granted"), range(50)))
    ada.sees(asked, "succeeded")

    def all_ruled() -> Any:
        item = ada.client.approval(approval)
        return item if len(item["answers"]) + len(item["refused"]) == 50 else None

    seen = eventually(all_ruled, "50 rulings", lambda: ada.client.approval(approval))
    assert len({one["by"] for one in seen["answers"]}) == len(seen["answers"]) == 3
    ruled_on = [one["event"] for one in (*seen["answers"], *seen["refused"])]
    assert sorted(ruled_on) == sorted(one["event"] for one in said)
    assert ada.facts(asked).count("approval.granted") == 1


def test_what_is_said_badly_is_refused_at_the_door(place: Town, tmp_path: Path) -> None:
    place.apply(tmp_path, policy("shapes", "shapes", [asks()]))
    ada, bob = place.person("ada"), place.person("bob", "sre")
    stranger = place.person("stranger", "sre", projects=("elsewhere",))
    asked = ada.asks("a", project="shapes")
    approval = str(ada.open_approval(asked)["id"])
    bodies: list[Any] = [
        *(None, [], "granted", {}, {"answer": True}, {"answer": ["granted"]}, {"answer": "GRANTED"}),
        *({"answer": "granted", "reason": 1}, {"answer": "granted", "reason": "x" * 100_000}),
        *({"answer": "granted", "by": "user:eve"}, {"answer": "granted", "groups": ["sre"]}),
    ]
    for body in bodies:
        with pytest.raises(Refused) as refusal:
            bob.client.write("POST", f"/v1/approvals/{approval}", body)
        assert refusal.value.status in (400, 413, 415, 422), body
    for to in ("", "user:", "group:sre", "user:a b", "bob", "user:bob", 5, None, "user:" + "x" * 300):
        with pytest.raises(Refused) as refusal:
            bob.client.write("POST", f"/v1/approvals/{approval}/delegate", {"to": to})
        assert refusal.value.status == 422, to
    with pytest.raises(Refused) as refusal:
        stranger.client.write("POST", f"/v1/approvals/{approval}", {"answer": "granted"})
    assert refusal.value.status == 404
    with pytest.raises(Refused) as refusal:
        stranger.client.approval(approval)
    assert refusal.value.status == 404
    reason = "日本語 \u202e🏳️‍🌈 <script>\n[bold]x[/bold]"
    bob.client.write("POST", f"/v1/approvals/{approval}", {"answer": "rejected", "reason": reason})
    assert ada.sees(asked, "rejected")["approvals"][0]["answers"][0]["reason"] == reason
