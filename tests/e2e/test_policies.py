"""Policies: denied, recorded, approved, held, waived, counted, and gone past. Each journey has a project of its own."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from entresol.failures import Refused

from tests.e2e.people import Town, eventually, texts


def policy(name: str, project: str, rules: list[dict[str, Any]], **spec: Any) -> str:
    spec = {"when": f'request.project == "{project}"', "rules": rules, **spec}
    return json.dumps(manifest("Policy", name, spec))


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def asks(**approve: Any) -> dict[str, Any]:
    return {"approve": {"from": ["group:sre"], **approve}, "because": "a second pair of eyes"}


def test_a_denial_tells_every_reason_and_an_audit_blocks_nobody(place: Town, tmp_path: Path) -> None:
    large = {"deny": "has(request.inputs.size) && request.inputs.size > 8", "because": "too large"}
    named = {"deny": 'request.name == "x"', "because": "name it after its service"}
    place.apply(tmp_path, policy("sizes", "sizes", [large, named]))
    place.apply(tmp_path, policy("recorded", "sizes", [{"deny": "true", "because": "never"}], mode="audit"))
    ada = place.person("ada", "shop")
    denied = ada.sees(ada.asks("x", "-i", "size=9", project="sizes"), "denied")
    assert denied["because"] == ["too large", "name it after its service"]
    allowed = ada.sees(ada.asks("y", "-i", "size=3", project="sizes"), "succeeded")
    explained = ada.does("policy", "explain", allowed["id"])
    assert "recorded" in explained
    assert "never" in explained


def test_two_of_a_group_have_to_grant_and_the_one_who_asked_does_not_count(place: Town, tmp_path: Path) -> None:
    place.apply(tmp_path, policy("quorum", "quorum", [asks(count=2)]))
    ada, bob, eve = place.person("ada"), place.person("bob", "sre"), place.person("eve", "sre")
    mia = place.person("mia", "sre")
    asked = mia.asks("a", project="quorum")
    approval = mia.open_approval(asked)["id"]
    assert "own request" in mia.fails("approve", approval)
    assert "not an approver" in ada.fails("approve", approval)
    bob.does("approve", approval)
    assert "answered already" in bob.fails("approve", approval)
    bob.does("withdraw", approval)
    eve.does("approve", approval)
    place.settle()
    assert mia.client.request(asked)["state"] == "waiting-for-approval", "one of two grants was taken back"
    bob.does("approve", approval, "--reason", "fine after all")
    mia.sees(asked, "succeeded")


def test_the_owner_that_the_catalog_names_and_a_group_have_to_grant_both(place: Town, tmp_path: Path) -> None:
    asks_both = {"approve": {"from": ["owner:system/${request.project}", "group:security"], "all": True}}
    documents = [
        manifest("Blueprint", "system", {"schema": {"properties": {}}}),
        manifest("Entity", "owned", {"blueprint": "system", "team": "payments"}),
        json.loads(policy("owners", "owned", [asks_both])),
    ]
    place.apply(tmp_path, "\n---\n".join(map(json.dumps, documents)))
    ada, pia, sam = place.person("ada"), place.person("pia", "payments"), place.person("sam", "security")
    kim = place.person("kim")
    asked = ada.asks("a", project="owned")
    approval = ada.open_approval(asked)
    assert approval["approvers"] == ["group:payments", "group:security"]
    pia.does("approve", approval["id"])
    assert "answered already" in pia.fails("approve", approval["id"])
    assert "not an approver" in kim.fails("approve", approval["id"])
    sam.does("delegate", approval["id"], "--to", "user:kim")
    kim.does("approve", approval["id"])
    ended = ada.sees(asked, "succeeded")
    assert [one["by"] for one in ended["approvals"][0]["answers"]] == ["user:pia", "user:kim"]


def test_a_lock_that_is_set_while_people_think_holds_until_it_is_lifted(place: Town, tmp_path: Path) -> None:
    place.apply(tmp_path, policy("eyes", "locked", [asks()]))
    ada, bob = place.person("ada"), place.person("bob", "sre")
    asked = ada.asks("a", project="locked")
    approval = ada.open_approval(asked)["id"]
    lock = bob.reads("lock", "add", "--project", "locked", "--reason", "a migration", "--exempt", "group:sre")["id"]
    bob.does("approve", approval)
    held = ada.sees(asked, "held")
    assert "a migration" in held["waiting_for"]
    assert "a migration" in ada.does("status", asked)
    assert "user:bob placed it" in ada.fails("lock", "lift", lock)
    bob.does("lock", "lift", lock)
    ada.sees(asked, "succeeded")


def test_a_window_shuts_and_who_may_goes_on_at_once_others_when_it_is_over(place: Town, tmp_path: Path) -> None:
    ada, bob = place.person("ada"), place.person("bob", "sre")

    def shut(name: str, seconds: int) -> None:
        now = datetime.now(UTC)
        opened = now.replace(second=0, microsecond=0)
        window = {
            "when": f'request.project == "{name}"',
            "effect": "deny",
            "cron": f"{opened.minute} {opened.hour} * * *",
            "duration": f"{int((now - opened).total_seconds()) + seconds}s",
            "because": "the backup runs",
            "override": ["group:sre"],
        }
        (tmp_path / "window.json").write_text(json.dumps(manifest("Window", name, window)))
        place.admin.does("apply", str(tmp_path / "window.json"))

    shut("backup", 6)
    waits = ada.asks("a", project="backup")
    shut("move", 7200)
    hurries = ada.asks("b", project="move")
    assert ada.sees(hurries, "held")["holds"][0]["name"] == "move"
    assert "only group:sre may" in ada.fails("override", hurries, "--reason", "I want to")
    bob.does("override", hurries, "--reason", "the fix can't wait")
    assert ada.sees(hurries, "succeeded")["decision"]["overridden"][0]["name"] == "move"
    assert "override.refused" in ada.facts(hurries)
    ada.sees(waits, "succeeded")
    assert "request.held" in ada.facts(waits)


def test_a_waiver_lets_through_until_it_runs_out(place: Town, tmp_path: Path) -> None:
    place.apply(tmp_path, policy("never", "waived", [{"deny": "true", "because": "never"}]))
    ada = place.person("ada")
    ada.sees(ada.asks("a", project="waived"), "denied")
    options = ("--project", "waived", "--reason", "a load test", "--ticket", "OPS-1", "--for", "4s")
    ada.fails("waiver", "grant", "Policy/never", *options)
    granted = place.admin.reads("waiver", "grant", "Policy/never", *options)["id"]
    allowed = ada.sees(ada.asks("a", project="waived"), "succeeded")
    assert allowed["decision"]["verdicts"][0]["waived_by"] == granted
    eventually(
        lambda: not any(one["id"] == granted for one in place.admin.reads("waiver", "list")),
        "the waiver to run out",
        lambda: place.admin.reads("waiver", "list"),
    )
    ada.sees(ada.asks("b", project="waived"), "denied")


def test_a_quota_holds_when_many_ask_at_once(place: Town, tmp_path: Path) -> None:
    quota = {"when": 'resource.project == "counted"', "per": "resource.project", "limit": 5, "because": "ask us"}
    place.apply(tmp_path, json.dumps(manifest("Quota", "things", quota)))
    ada = place.person("ada")

    def ask(number: int) -> str:
        body = {"offering": "thing", "project": "counted", "environment": "dev", "name": f"n{number}"}
        return str(ada.client.submit(body)["id"])

    with ThreadPoolExecutor(20) as threads:
        asked = list(threads.map(ask, range(40)))
    ended = [ada.sees(one, "succeeded", "denied") for one in asked]
    assert sum(one["state"] == "succeeded" for one in ended) == 5
    assert all("5 of 5 used" in texts(one) for one in ended if one["state"] == "denied")
    ada.does(
        "delete", "counted/dev/thing/" + next(one["name"] for one in ended if one["state"] == "succeeded"), "--wait"
    )
    place.settle()
    ada.sees(ada.asks("again", project="counted"), "succeeded")


def test_two_updates_at_once_do_not_bring_about_what_a_rule_forbids(place: Town, tmp_path: Path) -> None:
    step = {"name": "make", "driver": "noop", "with": {"suspend": "somebody looks at it"}}
    create = {"steps": [{"name": "make", "driver": "noop"}]}
    inputs = {"properties": {"size": {"type": "integer"}, "replicas": {"type": "integer"}}}
    offering = manifest(
        "Offering", "pair", {"inputs": inputs, "actions": {"create": create, "update": {"steps": [step]}}}
    )
    offering["metadata"]["version"] = "1.0.0"
    place.apply(tmp_path, json.dumps(offering))
    both = "request.inputs.size * request.inputs.replicas"
    place.apply(tmp_path, policy("area", "pair", [{"deny": f"{both} > 10", "because": "too much"}]))
    ada = place.person("ada")

    def update(*given: str) -> str:
        return ada.asks("one", "--action", "update", *given, project="pair", offering="pair")

    ada.sees(ada.asks("one", "-i", "size=2", "-i", "replicas=2", project="pair", offering="pair"), "succeeded")
    larger = update("-i", "size=5")
    more, fewer = update("-i", "replicas=5"), update("-i", "replicas=1")
    for one in (more, fewer):
        ada.sees(one, "allowed")
    eventually(lambda: ada.request(larger).get("suspended"), "the first to wait", lambda: ada.request(larger))
    ada.does("resume", larger, "--wait")
    assert ada.sees(more, "denied")["because"] == ["too much"]
    assert "instead of" in ada.does("policy", "explain", more)
    ada.sees(fewer, "succeeded")
    assert ada.resource("pair/dev/pair/one")["inputs"] == {"size": 5, "replicas": 1}
    assert ada.facts(fewer).count("request.allowed") == 2
    refused = ada.sees(update("-i", "replicas=3"), "denied")
    assert refused["because"] == ["too much"]


def test_a_glass_is_broken_announced_and_signed_off(place: Town, tmp_path: Path) -> None:
    broken = {"breakGlass": {"by": ["group:oncall"], "review": {"from": ["group:security"]}}}
    place.apply(tmp_path, policy("urgent", "burning", [broken, asks()]))
    grace, ada, sam = place.person("grace", "oncall"), place.person("ada"), place.person("sam", "security")
    waits = ada.asks("a", "--break-glass", "I am in a hurry", project="burning")
    ada.open_approval(waits)
    asked = grace.asks("b", "--break-glass", "the shop is down", project="burning")
    ended = grace.sees(asked, "succeeded")
    assert ended["glass"]["reason"] == "the shop is down"
    assert "glass.broken" in grace.facts(asked)
    review = grace.open_approval(asked, review=True)["id"]
    assert any(one["id"] == review for one in sam.reads("review", "list"))
    sam.does("review", "sign", review, "--reason", "it was down indeed")
    eventually(
        lambda: not any(one["id"] == review for one in sam.reads("review", "list")),
        "the review to be signed off",
        lambda: sam.reads("review", "list"),
    )
    assert grace.client.request(asked)["state"] == "succeeded"


def test_a_changed_policy_lets_go_of_what_waits(place: Town, tmp_path: Path) -> None:
    place.apply(tmp_path, policy("changed", "changing", [asks()]))
    ada = place.person("ada")
    asked = ada.asks("a", project="changing")
    ada.open_approval(asked)
    place.apply(tmp_path, policy("changed", "changing", [{**asks(), "when": 'request.environment == "prod"'}]))
    assert ada.sees(asked, "succeeded")["approvals"][0]["state"] == "closed"


def test_a_gate_looks_at_the_catalog_and_a_scorecard(place: Town, tmp_path: Path) -> None:
    blueprint = {"schema": {"properties": {"runbook": {"type": "string"}}}}
    levels = [
        {"name": "bronze", "rules": [{"name": "is-there", "holds": 'entity.identifier != ""'}]},
        {"name": "silver", "rules": [{"name": "has-a-runbook", "holds": "has(entity.properties.runbook)"}]},
    ]
    gate = 'catalog.entity("service", request.name).scorecards["ready"].rank < 2'
    documents = [
        manifest("Blueprint", "service", blueprint),
        manifest("Scorecard", "ready", {"blueprint": "service", "levels": levels}),
        manifest("Entity", "cart", {"blueprint": "service", "properties": {}}),
        json.loads(policy("ready", "gated", [{"deny": gate, "because": "not silver yet"}])),
    ]
    place.apply(tmp_path, "\n---\n".join(map(json.dumps, documents)))
    ada = place.person("ada")
    assert texts(ada.sees(ada.asks("cart", project="gated"), "denied")) == "not silver yet"
    assert "the catalog has no service pay" in texts(ada.sees(ada.asks("pay", project="gated"), "denied"))
    ready = manifest("Entity", "cart", {"blueprint": "service", "properties": {"runbook": "https://x"}})
    place.apply(tmp_path, json.dumps(ready))
    ada.sees(ada.asks("cart", project="gated"), "succeeded")


def test_hostile_rules_deny_and_others_are_answered_as_before(place: Town, tmp_path: Path) -> None:
    loops = "request.inputs.numbers.all(a, request.inputs.numbers.all(b, a + b >= 0))"
    texts_of = " + ".join(["request.inputs.text"] * 150)
    rules = [
        {"deny": f"has(request.inputs.numbers) && !({loops})", "because": "loops"},
        {"deny": f"has(request.inputs.text) && size({texts_of}) < 0", "because": "texts"},
    ]
    place.apply(tmp_path, policy("hostile", "hostile", rules))
    ada = place.person("ada")
    numbers = json.dumps(list(range(20_000)))
    endless = ada.asks("a", "-i", f"numbers:={numbers}", project="hostile")
    huge = ada.asks("b", "-i", f"text={'x' * 100_000}", project="hostile")
    plain = [ada.asks(f"plain-{n}") for n in range(20)]
    for one in plain:
        ada.sees(one, "succeeded")
    assert "hostile" in texts(ada.sees(endless, "denied"))
    ada.sees(huge, "denied", "succeeded")
    ada.sees(ada.asks("c", "-i", "numbers:=[1, 2]", project="hostile"), "succeeded")


def test_who_may_not_see_a_project_learns_nothing_of_its_locks(place: Town) -> None:
    stranger = place.person("stranger", projects=("elsewhere",))
    lock = place.admin.reads("lock", "add", "--project", "secret", "--reason", "hush")["id"]
    place.settle()
    assert all(one["id"] != lock for one in stranger.reads("lock", "list"))
    with pytest.raises(Refused) as refusal:
        stranger.client.write("DELETE", f"/v1/locks/{lock}")
    assert refusal.value.status == 404
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    stranger.fails("lock", "add", "--project", "secret", "--reason", "mine", "--until", until)
