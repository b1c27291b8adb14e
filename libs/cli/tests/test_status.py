"""What `status` shows of the later life of things: waits, drift, pauses, needs, revisions, stages."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

Document = dict[str, Any]
Run = Callable[..., Result]
REQUEST = "0193f2c4-81c5-7d3e-9a10-3a0c52b6a3de"
CHILD = "0193f2c4-90aa-7d3e-9a10-3a0c52b6a3df"
CART = "shop/prod/deployment/cart"
DRIFT = {
    "since": "2026-11-20T03:00:00+00:00",
    "mode": "correct",
    "differences": [{"step": "commit", "path": "shop/cart.yaml#/spec/replicas", "change": "changed"}],
    "more": 0,
    "gone": [],
}
LOST = {
    "since": "2026-11-20T07:00:00+00:00",
    "reason": "step files: the token has expired",
    "seen_at": "2026-11-20T06:50:00+00:00",
}
PAUSE = {"by": "user:ada", "reason": "a migration by hand", "until": "2026-11-29T07:00:00Z"}
WAITS = [
    {"step": "migrate", "reason": "look at the data", "until": "2026-11-29T07:00:00Z", "resumable": True},
    {"step": "db", "reason": "shop/prod/database/cart-db is made", "resumable": False, "requires": CHILD},
]


def resource(**more: Any) -> Document:
    named = {"id": CART, "project": "shop", "environment": "prod", "offering": "deployment", "name": "cart"}
    return {**named, "state": "provisioned", "offering_version": "1.0.0", "owner": "user:ada", **more}


@pytest.fixture
def there(accepting: Any) -> Any:
    """A platform that has one resource with nothing unusual about it."""
    accepting.says("GET", f"/catalog/v1/resources/{CART}", 200, resource())
    accepting.lists(f"/catalog/v1/resources/{CART}/revisions")
    return accepting


def test_the_overview_shows_suspended_steps_drift_and_pauses(run: Run, there: Any, item: Document) -> None:
    waiting = item | {"state": "running", "suspended": WAITS}
    there.lists("/catalog/v1/requests", waiting)
    there.answers["GET", "/catalog/v1/resources"] = lambda call: (
        200,
        {"items": [resource(drift=DRIFT, unobserved=LOST, paused=PAUSE)], "next": None},
    )
    shown = run("status").stdout
    for text in (
        "Suspended",
        "migrate: look at the data (until 2026-11-29 ",
        f"entresol resume {REQUEST[:18]} --step migrate",
        f"db: shop/prod/database/cart-db is made, request {CHILD[:18]}",
        "Drifted",
        "1 place in shop/cart.yaml",
        "Nobody can look at",
        LOST["reason"],
        "Paused",
        "user:ada: a migration by hand",
    ):
        assert text in shown, text
    assert "Running" not in shown
    document = json.loads(run("status", "-o", "json").stdout)
    assert [len(document[name]) for name in ("suspended", "drifted", "paused", "running")] == [1, 1, 1, 0]


def test_the_overview_says_behind_what_a_request_waits(run: Run, there: Any, item: Document) -> None:
    going = item | {"id": CHILD, "action": "create", "state": "running", "suspended": WAITS}
    there.lists("/catalog/v1/requests", item | {"action": "delete", "state": "allowed"}, going)
    there.lists("/catalog/v1/resources")
    (line,) = [line for line in run("status").stdout.splitlines() if " allowed " in line]
    assert line.rstrip().endswith(f"waits for its turn, after create {CHILD[:18]}")


def test_the_overview_shows_what_ends_soon_or_should_have(run: Run, there: Any) -> None:
    ending = [resource(state=state, expires_at="2026-11-29T07:00:00Z") for state in ("expiring", "expired")]
    there.lists("/catalog/v1/requests")
    there.lists("/catalog/v1/resources", *ending, resource())
    shown = run("status").stdout
    assert [line.split()[:3] for line in shown.splitlines() if CART in line] == [
        [CART, state, "2026-11-29"] for state in ("expiring", "expired")
    ]
    assert "entresol extend" in shown


def test_what_is_deleted_has_no_end_before_it(run: Run, there: Any) -> None:
    gone = resource(state="deleted", expires_at="2026-11-29T07:00:00Z", updated_at="2026-11-20T07:00:00Z")
    there.says("GET", f"/catalog/v1/resources/{CART}", 200, gone)
    shown = run("status", CART).stdout
    assert "expires at" not in shown
    assert ["deleted", "2026-11-20"] in [line.split()[:2] for line in shown.splitlines()]


def test_a_platform_that_knows_no_such_filters_shows_nothing_wrong(run: Run, there: Any) -> None:
    there.lists("/catalog/v1/resources", resource())
    shown = run("status").stdout
    assert "Drifted" not in shown
    assert "Paused" not in shown


def test_who_has_let_a_step_go_on_is_told(run: Run, there: Any, item: Document) -> None:
    resumed = WAITS[0] | {"resumed_by": "user:sue"}
    there.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, item | {"state": "running", "suspended": [resumed]})
    shown = run("status", REQUEST).stdout
    assert "resumed by user:sue" in shown
    assert "entresol resume" not in shown


def test_a_request_shows_what_it_waits_for_and_how_to_let_it_go_on(run: Run, there: Any, item: Document) -> None:
    more = {
        "state": "running",
        "suspended": WAITS,
        "class": "cheap",
        "requirement": {"request_id": CHILD, "resource_id": "shop/prod/app/shop", "name": "cart"},
        "snapshot": {"revision": 3},
        "orphan": True,
    }
    there.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, item | more)
    shown = run("status", REQUEST[:12]).stdout
    for text in (
        "migrate    2026-11-29 ",
        f"entresol resume {REQUEST[:18]} --step migrate",
        f"entresol status {CHILD[:18]}",
        "cheap",
        f"shop/prod/app/shop, as its cart (request {CHILD[:18]})",
        "revision 3",
        "left in the world, if they can't be removed",
    ):
        assert text in shown, text


def test_a_failed_request_shows_what_was_undone_and_what_is_left(run: Run, there: Any, item: Document) -> None:
    steps = [
        {"name": "a", "state": "succeeded", "attempt": 1, "compensation": {"state": "failed", "message": "no route"}},
        {"name": "b", "state": "succeeded", "attempt": 1, "compensation": {"state": "succeeded", "message": None}},
    ]
    failed = item | {"state": "failed", "compensated": ["b", "c"], "left": ["a"], "because": ["no"], "steps": steps}
    there.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, failed)
    for shown in (run("status", REQUEST).stdout, run("request", "x", "y", "-p", "p", "-e", "e", "--wait").stdout):
        assert "undone: b, c" in shown
        assert "left in the world: a" in shown
    rows = [line.split() for line in run("status", REQUEST).stdout.splitlines()]
    assert ["a", "succeeded", "1", "could", "not", "be", "undone:", "no", "route"] in rows
    assert ["b", "succeeded", "1", "undone"] in rows


def test_a_request_shows_what_it_needs_and_how_that_stands(
    run: Run, there: Any, item: Document, chain: list[Document]
) -> None:
    wanted = {"resource_id": "shop/prod/database/cart-db"}
    needs = {"name": "db", "action": "create", "wanted": wanted, "for_request_id": CHILD, "request_id": REQUEST}
    asked = chain[5] | {"id": "n1", "type": "dev.entresol.requirement.requested.v1", "data": needs}
    begun = chain[5] | {"id": "n2", "data": {"request_id": CHILD, "steps": ["make"]}}
    stuck = {"request_id": CHILD, "step": "make", "reason": "the job runs"}
    waits = chain[5] | {"id": "n3", "type": "dev.entresol.run.suspended.v1", "data": stuck}
    there.lists(f"/catalog/v1/requests/{REQUEST}/events", *chain[:6], asked, begun, waits)
    shown = run("status", REQUEST).stdout
    assert "needs\n└── db  shop/prod/database/cart-db  running\n    └── make  suspended  the job runs" in shown
    (need,) = json.loads(run("status", REQUEST, "-o", "json").stdout)["needs"]
    assert (need["name"], need["request"], need["state"]) == ("db", CHILD, "running")


def test_a_resource_shows_all_that_befell_it(run: Run, there: Any) -> None:
    orphan = {"step": "dns", "driver": "http", "reason": "no answer"}
    more = {
        "drift": DRIFT,
        "unobserved": LOST,
        "paused": PAUSE,
        "orphaned": [orphan],
        "implementation": "cheap-in-dev",
        "class": "cheap",
        "required_by": ["shop/prod/app/shop"],
    }
    there.says("GET", f"/catalog/v1/resources/{CART}", 200, resource(**more))
    shown = run("status", CART).stdout
    for text in (
        "provisioned, paused, drifted, not to be seen, left something behind",
        LOST["reason"],
        "by user:ada until 2026-11-29",
        "a migration by hand",
        "it is put right by a request",
        "shop/cart.yaml#/spec/replicas",
        "dns (http): no answer",
        "cheap-in-dev",
        "shop/prod/app/shop",
    ):
        assert text in shown, text


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("default", None),
        ("deprecated", "deprecated: nothing new is made with it unless it is named; 2.0.0 is the default"),
        ("defective", "defective: nothing is made with it or updated to it any more; 2.0.0 is the default"),
        ("proposed", "proposed: only who names it gets it"),
        (None, "2.0.0 is the default"),
    ],
)
def test_a_resource_says_how_its_version_stands(run: Run, there: Any, stage: str | None, said: str | None) -> None:
    versions = [{"version": "1.0.0", "stage": stage}, {"version": "2.0.0", "stage": "default"}]
    there.says("GET", "/catalog/v1/offerings/deployment", 200, {"name": "deployment", "versions": versions})
    shown = run("status", CART).stdout
    (line,) = [line.rstrip() for line in shown.splitlines() if line.startswith("offering")]
    assert line.split(maxsplit=1)[1] == f"deployment@1.0.0{'  ' + said if said else ''}"
    assert json.loads(run("status", CART, "-o", "json").stdout)["stage"] == stage
    gone = [{"version": "2.0.0", "stage": "default"}]
    there.says("GET", "/catalog/v1/offerings/deployment", 200, {"name": "deployment", "versions": gone})
    assert "not offered any more" in run("status", CART).stdout


def test_a_resource_shows_what_it_needs_and_what_needs_it_as_trees(run: Run, there: Any) -> None:
    database, disk, hidden = "shop/prod/database/cart-db", "shop/prod/disk/cart-db-disk", "other/prod/dns/shared"
    shop, site = "shop/prod/app/shop", "shop/prod/site/shop"
    wanted = {"db": database, "names": hidden}
    there.says("GET", f"/catalog/v1/resources/{CART}", 200, resource(requires=wanted, required_by=[shop, hidden]))
    needy = resource(id=database, requires={"disk": disk, "app": CART}, drift=DRIFT)
    there.says("GET", f"/catalog/v1/resources/{database}", 200, needy)
    there.says("GET", f"/catalog/v1/resources/{disk}", 200, resource(id=disk, state="expiring"))
    there.says("GET", f"/catalog/v1/resources/{shop}", 200, resource(id=shop, required_by=[site]))
    there.says("GET", f"/catalog/v1/resources/{site}", 200, resource(id=site, required_by=[CART]))
    shown = run("status", CART).stdout
    assert (
        f"""needs
├── db  {database}  provisioned, drifted
│   ├── disk  {disk}  expiring
│   └── app  {CART}  see above
└── names  {hidden}  not to be seen from here

needed by
├── {shop}  provisioned
│   └── {site}  provisioned
│       └── {CART}  see above
└── {hidden}  not to be seen from here
"""
        in shown
    )


def test_of_what_many_need_not_all_are_looked_at_but_all_are_named(run: Run, there: Any) -> None:
    many = [f"shop/prod/app/a{number}" for number in range(60)]
    there.says("GET", f"/catalog/v1/resources/{CART}", 200, resource(required_by=many))
    lines = run("status", CART).stdout.splitlines()
    assert lines[lines.index("needed by") + 1].endswith(f"{many[0]}  not to be seen from here")
    assert lines[lines.index("needed by") + 60].endswith(f"── {many[-1]}")


def test_a_resource_lists_its_revisions_and_what_each_changed(run: Run, there: Any) -> None:
    first = {"revision": 1, "at": "2026-11-19T03:00:00Z", "action": "create", "version": "1.0.0", "inputs": {"a": 1}}
    second = first | {"revision": 2, "action": "update", "version": "1.1.0", "inputs": {"a": 2}}
    there.lists(f"/catalog/v1/resources/{CART}/revisions", second, first)
    rows = [line.split() for line in run("status", CART).stdout.splitlines()]
    assert [row[-4:] for row in rows if row[:1] == ["2"]] == [["update", "1.1.0", "version,", "a"]]
    there.lists(f"/catalog/v1/resources/{CART}/revisions", first)
    assert "revision" not in run("status", CART).stdout


def test_what_is_not_there_says_what_was_asked_of_it(run: Run, there: Any, item: Document) -> None:
    there.says("GET", f"/catalog/v1/resources/{CART}", 404, {"title": "Not found"})
    there.lists("/catalog/v1/requests", item | {"state": "running"})
    told = run("status", CART)
    assert told.exit_code == 3
    assert f"create is running: entresol status {REQUEST[:18]}" in told.stderr
    there.lists("/catalog/v1/requests")
    assert "Nothing was ever asked of it" in run("status", CART).stderr


def test_a_dry_run_is_not_listed_as_if_it_had_happened(run: Run, there: Any, item: Document) -> None:
    there.lists("/catalog/v1/requests", item | {"dry_run": True})
    for shown in (run("status", CART).stdout, run("status").stdout):
        assert "create (dry run)" in shown


def test_a_request_behind_another_says_which(run: Run, there: Any, item: Document) -> None:
    there.says(
        "GET", f"/catalog/v1/requests/{REQUEST}", 200, item | {"state": "allowed", "waiting_for": "provisioning"}
    )
    there.lists("/catalog/v1/requests", item | {"id": CHILD, "action": "update", "state": "running"})
    shown = " ".join(run("status", REQUEST).stdout.split())
    assert f"waits for its turn: work on one resource is serial, and before it is update, request {CHILD[:18]}" in shown
    assert json.loads(run("status", REQUEST, "-o", "json").stdout)["behind"] == CHILD
    there.lists("/catalog/v1/requests")
    assert "waits for provisioning" in " ".join(run("status", REQUEST).stdout.split())


@pytest.mark.parametrize("columns", [60, 80, 110])
def test_a_long_reason_can_be_read_on_any_terminal(
    run: Run, there: Any, item: Document, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    reason = "step database: the module asks for a network that this account does not have in this region"
    there.lists("/catalog/v1/requests", item | {"state": "failed", "because": [reason]}, item)
    shown = run("status").stdout
    assert len([line for line in shown.splitlines() if set(line.split()) & set(reason.split())]) <= 5
    assert all(len(line.rstrip()) <= columns for line in shown.splitlines())
    assert all(word in shown.split() for word in reason.split())


def test_a_resource_is_found_by_an_end_of_its_id(run: Run, there: Any) -> None:
    there.lists("/catalog/v1/resources", resource())
    assert CART in run("status", "deployment/cart").stdout
    assert run("explain", "prod/deployment/cart").exit_code == 0


def test_what_a_platform_says_of_waits_can_not_steer_the_terminal(run: Run, there: Any, item: Document) -> None:
    hostile = "a\x1b[2Jb\u202e"
    waits = [{"step": hostile, "reason": hostile, "until": hostile, "resumable": True}]
    pause = {"by": hostile, "reason": hostile, "until": hostile}
    there.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, item | {"state": "running", "suspended": waits})
    there.lists("/catalog/v1/requests", item | {"state": "running", "suspended": waits})
    difference = {"step": hostile, "path": hostile, "change": hostile}
    drift = {"since": hostile, "mode": hostile, "differences": [difference], "gone": [hostile]}
    more = {"paused": pause, "drift": drift, "requires": {hostile: "a/b/c/d"}, "implementation": hostile}
    there.says("GET", f"/catalog/v1/resources/{CART}", 200, resource(**more))
    there.lists("/catalog/v1/resources", resource(**more))
    for result in (run("status"), run("status", REQUEST), run("status", CART), run("drift")):
        assert result.exit_code == 0, result.output
        assert not set("\x1b\u202e") & set(result.output)
