"""What the commands send and say that change what there is already, against doors with canned answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from entresol_eventing.envelope import new_id
from typer.testing import Result

Document = dict[str, Any]
Run = Callable[..., Result]
REQUEST = "0193f2c4-81c5-7d3e-9a10-3a0c52b6a3de"
CART = "shop/prod/deployment/cart"
PARTS = {"project": "shop", "environment": "prod", "offering": "deployment", "name": "cart"}
DRIFT = {
    "since": "2026-11-21T03:00:00+00:00",
    "mode": "report",
    "differences": [{"step": "commit", "path": "shop/cart.yaml#/spec/replicas", "change": "changed"}],
    "more": 3,
    "gone": ["dns"],
}
LOST = {
    "since": "2026-11-20T07:00:00+00:00",
    "reason": "step files: the token has expired",
    "seen_at": "2026-11-20T06:50:00+00:00",
}
REVISIONS = [
    {"revision": 3, "at": "2026-11-21T03:00:00Z", "request_id": "r3", "action": "update", "version": "1.1.0",
     "inputs": {"revision": "1.3", "replicas": 3, "limits": {"cpu": 2, "memory": "1Gi"}}},
    {"revision": 2, "at": "2026-11-20T03:00:00Z", "request_id": "r2", "action": "update", "version": "1.0.0",
     "inputs": {"revision": "1.2", "port": 8080, "limits": {"cpu": 1, "memory": "1Gi"}}},
    {"revision": 1, "at": "2026-11-19T03:00:00Z", "request_id": "r1", "action": "create", "version": "1.0.0",
     "inputs": {"revision": "1.1"}},
]  # fmt: skip


def sent(doors: Any) -> Document:
    body: Document = doors.last("POST", "/intake/v1/requests").body
    return body


def resource(**more: Any) -> Document:
    return {"id": CART, "state": "provisioned", **PARTS, "owner": "user:ada", "drift": None, "paused": None, **more}


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (
            ("pause", CART, "--for", "2h", "--reason", "a migration"),
            {"action": "pause", "lifetime": "2h", "reason": "a migration"},
        ),
        (("unpause", CART), {"action": "unpause"}),
        (("reconcile", CART, "--dry-run"), {"action": "reconcile", "dry_run": True}),
        (("extend", CART, "--for", "5d"), {"action": "extend", "lifetime": "5d"}),
        (("delete", CART, "--orphan", "--reason", "gone"), {"action": "delete", "orphan": True, "reason": "gone"}),
        (("delete", CART), {"action": "delete"}),
    ],
    ids=lambda one: one[0] if isinstance(one, tuple) else "",
)
def test_what_is_done_to_a_resource_is_a_request(
    run: Run, accepting: Any, arguments: tuple[str, ...], body: Document
) -> None:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert sent(accepting) == {**PARTS, **body}
    assert f"entresol status {REQUEST[:18]}" in result.stdout


@pytest.mark.parametrize(
    "arguments", [("pause", CART, "--reason", "x"), ("pause", CART, "--for", "2h"), ("unpause", "a/b/c/d/e")]
)
def test_what_is_missing_or_malformed_is_wrong_usage(run: Run, accepting: Any, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert not [one for one in accepting.received if one.method == "POST"]


def test_a_resource_may_be_named_by_an_end_of_its_id(run: Run, accepting: Any) -> None:
    accepting.lists("/catalog/v1/resources", resource(), {"id": "shop/dev/deployment/cart"}, {"id": "a/b/c/wagon"})
    assert run("unpause", "prod/deployment/cart").exit_code == 0
    assert sent(accepting)["environment"] == "prod"
    asked = accepting.last("GET", "/catalog/v1/resources").query
    assert (asked["offering"], asked["environment"]) == ("deployment", "prod")
    assert run("unpause", "wagon").exit_code == 0
    assert sent(accepting)["name"] == "wagon"
    several = run("unpause", "deployment/cart")
    assert several.exit_code == 2
    assert f"could mean 2 resources\n  shop/dev/deployment/cart\n  {CART}" in several.stderr
    nobody = run("unpause", "art")
    assert nobody.exit_code == 3
    assert "PROJECT/ENVIRONMENT/OFFERING/NAME" in nobody.stderr


def test_a_rollback_goes_to_the_revision_before_and_shows_what_that_changes(run: Run, accepting: Any) -> None:
    accepting.lists(f"/catalog/v1/resources/{CART}/revisions", *REVISIONS)
    result = run("rollback", CART, "--reason", "it was better")
    assert result.exit_code == 0, result.output
    assert sent(accepting) == {
        **PARTS,
        "action": "rollback",
        "version": "1.0.0",
        "inputs": REVISIONS[1]["inputs"],
        "snapshot": {"revision": 2, "request_id": "r2"},
        "reason": "it was better",
    }
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["version", "1.1.0", "1.0.0"] in rows
    assert ["inputs.revision", "1.3", "1.2"] in rows
    assert ["inputs.replicas", "3", "not", "there"] in rows
    assert ["inputs.port", "not", "there", "8080"] in rows
    assert ["inputs.limits.cpu", "2", "1"] in rows
    assert "memory" not in result.stdout


def test_a_rollback_to_a_given_revision_is_also_told_as_json(run: Run, accepting: Any) -> None:
    accepting.lists(f"/catalog/v1/resources/{CART}/revisions", *reversed(REVISIONS))
    result = run("rollback", CART, "--to", "1", "--dry-run", "-o", "json")
    document = json.loads(result.stdout)
    assert (document["id"], document["from_revision"], document["to_revision"]) == (REQUEST, 3, 1)
    assert {"what": "inputs.revision", "now": "1.3", "then": "1.1"} in document["changes"]
    assert sent(accepting)["dry_run"] is True


@pytest.mark.parametrize(
    ("known", "arguments", "code", "said"),
    [
        (REVISIONS, ("--to", "3"), 2, "at revision 3 already"),
        (REVISIONS, ("--to", "7"), 3, "there are 2, 1"),
        (REVISIONS[-1:], (), 2, "there is none before"),
        ([REVISIONS[2] | {"revision": 4}, *REVISIONS], (), 2, "--to 3 is from before it was deleted"),
        ([], (), 3, "no revisions to go back to"),
    ],
)
def test_a_rollback_to_nowhere_says_where_one_can_go(
    run: Run, accepting: Any, known: list[Document], arguments: tuple[str, ...], code: int, said: str
) -> None:
    accepting.lists(f"/catalog/v1/resources/{CART}/revisions", *known)
    result = run("rollback", CART, *arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert not [one for one in accepting.received if one.method == "POST"]


def test_a_rollback_between_equal_inputs_says_so(run: Run, accepting: Any) -> None:
    same = {"version": "1.0.0", "inputs": {}, "at": "2026-11-19T03:00:00Z"}
    accepting.lists(f"/catalog/v1/resources/{CART}/revisions", {**same, "revision": 2}, {**same, "revision": 1})
    result = run("rollback", CART)
    assert result.exit_code == 0
    assert "the same; its steps are done again" in result.stdout


def test_a_rollback_of_what_is_not_there_is_not_found(run: Run, doors: Any) -> None:
    result = run("rollback", CART)
    assert result.exit_code == 3
    assert f"no resource {CART}" in result.stderr


ADOPT = ("adopt", "deployment", "cart", "-p", "shop", "-e", "prod", "-i", "replicas=3", "--class", "cheap")


def test_an_adoption_sends_what_a_request_would(run: Run, accepting: Any) -> None:
    assert run(*ADOPT, "--version", "1.0.0", "--lifetime", "5d", "--dry-run").exit_code == 0
    assert sent(accepting) == {
        **PARTS,
        "action": "adopt",
        "inputs": {"replicas": 3},
        "dry_run": True,
        "version": "1.0.0",
        "class": "cheap",
        "lifetime": "5d",
    }


def test_an_adoption_tells_what_differs_afterwards(run: Run, accepting: Any) -> None:
    accepting.says("GET", f"/catalog/v1/resources/{CART}", 200, resource(drift=DRIFT))
    result = run(*ADOPT, "--wait")
    assert result.exit_code == 0, result.output
    assert "it differs from what its inputs say" in result.stdout
    assert "shop/cart.yaml#/spec/replicas" in result.stdout
    assert f"entresol reconcile {CART}" in result.stdout
    accepting.says("GET", f"/catalog/v1/resources/{CART}", 200, resource())
    assert "nothing differs" in run(*ADOPT, "--wait").stdout
    json.loads(run(*ADOPT, "--wait", "-o", "json").stdout)


WAITS: list[Document] = [
    {"step": "migrate", "reason": "look at the data", "until": "2026-11-21T07:00:00Z", "resumable": True,
     "requires": None},
    {"step": "db", "reason": "shop/dev/database/cart-db is made", "until": None, "resumable": False, "requires": "r7"},
]  # fmt: skip


def test_a_suspended_step_is_let_go_on_with_an_answer(run: Run, accepting: Any, item: Document) -> None:
    accepting.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, item | {"state": "running", "suspended": WAITS})
    accepting.says("POST", f"/intake/v1/requests/{REQUEST}/resume", 202, {"id": REQUEST})
    result = run("resume", REQUEST[:11], "--reason", "checked", "--answer", "rows=12", "--answer", "who.name=ada")
    assert result.exit_code == 0, result.output
    body = accepting.last("POST", f"/intake/v1/requests/{REQUEST}/resume").body
    assert body == {"reason": "checked", "answer": {"rows": 12, "who": {"name": "ada"}}}
    assert "migrate may go on" in result.stdout
    queued = item | {"id": "0193f2c4-9999-7d3e-9a10-3a0c52b6a3de", "state": "allowed"}
    waits = item | {"state": "running", "suspended": WAITS}
    accepting.answers["GET", "/catalog/v1/requests"] = lambda call: (
        200,
        {"items": [waits if call.query.get("state") == "running" else queued], "next": None},
    )
    assert run("resume", CART, "--step", "migrate", "-o", "json").exit_code == 0
    assert accepting.received[-1].body == {"step": "migrate"}


def test_what_nobody_waits_for_can_not_be_resumed(run: Run, accepting: Any, item: Document) -> None:
    accepting.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, item | {"state": "running", "suspended": WAITS})
    result = run("resume", REQUEST, "--step", "db")
    assert result.exit_code == 2
    assert "step db of request" in result.stderr
    assert "--step migrate can be resumed" in result.stderr
    assert "db waits by itself: shop/dev/database/cart-db is made, request r7" in result.stderr
    accepting.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, item)
    assert "(succeeded) waits for anybody" in run("resume", REQUEST).stderr
    assert not [one for one in accepting.received if one.method == "POST"]


def test_what_was_asked_for_just_now_is_given_a_moment(run: Run, accepting: Any, item: Document) -> None:
    new = new_id()
    path = f"/catalog/v1/requests/{new}"
    stages = iter([(404, {}), (200, item | {"state": "submitted"}), (200, item | {"state": "running"})])
    waits = item | {"state": "running", "suspended": WAITS}
    accepting.answers["GET", path] = lambda call: next(stages, (200, waits))
    accepting.says("POST", f"/intake/v1/requests/{new}/resume", 202, {"id": new})
    assert run("resume", new).exit_code == 0
    assert len([one for one in accepting.received if one.path == path]) == 4


def test_an_answer_goes_to_one_step_only(run: Run, accepting: Any, item: Document) -> None:
    waits = [WAITS[0], WAITS[0] | {"step": "check"}]
    accepting.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, item | {"state": "running", "suspended": waits})
    result = run("resume", REQUEST, "--answer", "rows=12")
    assert result.exit_code == 2
    assert "--step migrate or --step check" in result.stderr
    assert "--answer rows: write key=value" in run("resume", REQUEST, "--answer", "rows").stderr


def test_drift_lists_what_has_drifted(run: Run, doors: Any) -> None:
    doors.lists("/catalog/v1/resources", resource(drift=DRIFT), {"id": "a/b/c/d", "drift": None})
    result = run("drift", "-p", "shop")
    assert result.exit_code == 0, result.output
    drifted, unobserved = (one.query for one in doors.received)
    assert (drifted["drifted"], unobserved["unobserved"]) == ("true", "true")
    assert drifted["project"] == unobserved["project"] == "shop"
    assert all(text in result.stdout for text in ("nothing is left of dns", "1 place in shop/cart.yaml", "3 more"))
    assert "a/b/c/d" not in result.stdout
    assert [one["id"] for one in json.loads(run("drift", "-o", "json").stdout)] == [CART]
    doors.lists("/catalog/v1/resources", resource(unobserved=LOST))
    told = run("drift").stdout
    assert "nothing has drifted, as far as is known" in told
    assert LOST["reason"] in told
    assert [one["id"] for one in json.loads(run("drift", "-o", "json").stdout)] == [CART]
    doors.lists("/catalog/v1/resources")
    assert "nothing has drifted\n" in run("drift").stdout


@pytest.mark.parametrize(
    ("more", "watch", "said"),
    [
        (
            {},
            {"every": "10m", "hints": [{"on": "x"}]},
            "as far as anybody looked: every 10m and after events that hint",
        ),
        ({}, {"hints": [{"on": "x"}]}, "as far as anybody looked: after events"),
        (
            {},
            None,
            f"says nothing of drift, so nobody looks by itself\nsee what differs with: entresol reconcile {CART}",
        ),
        (
            {"paused": {"by": "user:ada", "reason": "by hand", "until": "2026-11-29T07:00:00Z"}},
            {"every": "10m"},
            "nobody looks while it is paused",
        ),
        ({"state": "deleted"}, {"every": "10m"}, "is deleted"),
        (
            {"unobserved": LOST},
            {"every": "10m"},
            f"{CART}: nobody can look since 2026-11-20 07:00, last looked at 2026-11-20 06:50\nstep files: the token",
        ),
        ({"unobserved": LOST | {"seen_at": None}}, None, "last looked at never"),
    ],
)
def test_what_has_not_drifted_says_who_looks(
    run: Run, doors: Any, more: Document, watch: Document | None, said: str
) -> None:
    doors.says("GET", f"/catalog/v1/resources/{CART}", 200, resource(offering_version="1.0.0", **more))
    spec = {} if watch is None else {"drift": watch}
    offering = {"name": "deployment", "version": "1.0.0", "manifest": {"spec": spec}}
    doors.says("GET", "/catalog/v1/offerings/deployment", 200, offering)
    assert said in run("drift", CART).stdout
    assert doors.last("GET", "/catalog/v1/offerings/deployment").query["version"] == "1.0.0"


def test_drift_of_one_resource_tells_what_follows(run: Run, doors: Any, item: Document) -> None:
    path = f"/catalog/v1/resources/{CART}"
    doors.lists("/catalog/v1/requests")
    doors.says("GET", path, 200, resource(drift=DRIFT))
    told = run("drift", CART).stdout
    assert all(text in told for text in ("dns", "gone", "nothing is left of it", "and 3 more"))
    assert "nothing follows by itself" in told
    assert f"entresol reconcile {CART}" in told
    asked = item | {"action": "reconcile", "actor": "system:drift", "state": "waiting-for-approval"}
    earlier = asked | {"id": "old", "submitted_at": "2026-11-20T00:00:00Z"}
    doors.lists("/catalog/v1/requests", asked, earlier)
    assert "asked for again" not in told
    again = {"mode": "ask", "again_at": "2026-11-22T03:00:00+00:00"}
    doors.says("GET", path, 200, resource(drift=DRIFT | again))
    told = run("drift", CART).stdout
    assert "its owner is asked" in told
    assert "asked for again if it is still so, not before 2026-11-22" in told
    assert f"request {REQUEST[:18]} by system:drift: waiting-for-approval" in told
    assert json.loads(run("drift", CART, "-o", "json").stdout)["correction"]["id"] == REQUEST
    paused = {"by": "user:ada", "reason": "by hand", "until": "2026-11-21T07:00:00Z"}
    doors.says("GET", path, 200, resource(drift=DRIFT, paused=paused))
    assert f"not while it is paused: entresol unpause {CART}" in run("drift", CART).stdout


def test_drift_of_what_is_not_there_is_not_found(run: Run, doors: Any) -> None:
    assert run("drift", CART).exit_code == 3


@pytest.mark.parametrize("name", ["pause", "unpause", "adopt", "reconcile", "rollback", "delete", "resume", "drift"])
def test_help_has_an_example_and_exit_codes(run: Run, name: str) -> None:
    text = run(name, "--help").stdout
    assert f"entresol {name} " in text
    assert "Exit codes" in text
