"""What stands between a request and its run, on the command line: approvals, holds, locks, waivers, reviews."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

Document = dict[str, Any]
Run = Callable[..., Result]
REQUEST = "0193f2c4-81c5-7d3e-9a10-3a0c52b6a3de"
LOCK = "0193f2c4-90c5-7d3e-9a10-3a0c52b6a3aa"
PLAN = {
    "digest": "sha256:" + "a" * 64,
    "adds": 1,
    "changes": 0,
    "destroys": 2,
    "cost": 40,
    "summary": ["create database", "destroy cache"],
}


def approval(**more: Any) -> Document:
    plain: Document = {
        "id": "a1",
        "request": REQUEST,
        "resource": "shop/prod/deployment/cart",
        "project": "shop",
        "policy": "production",
        "approvers": ["group:sre", "group:data"],
        "count": 1,
        "all": False,
        "requested_by": "user:ada",
        "expires_at": "2026-11-21T07:00:00+00:00",
        "state": "pending",
        "missing": 1,
        "missing_from": ["group:sre", "group:data"],
        "unruled": [],
        "answers": [],
        "refused": [],
        "withdrawn": [],
        "delegations": [],
    }
    return plain | more


def review(**more: Any) -> Document:
    return approval(id="v1", review=True, approvers=["group:security"], reason="the shop is down", **more)


@pytest.fixture
def pending(doors: Any) -> Callable[..., None]:
    """Makes the doors show approvals, and others once something was written to a path."""

    def show(before: Document, path: str, after: Document) -> None:
        doors.asks(before)

        def written(_: Any) -> tuple[int, Document]:
            doors.asks(after)
            return 202, {"id": before["id"], "by": BY, "event": "e1"}

        doors.answers["POST", path] = written

    return show


BY = "user:grace"
GRANTED = {"by": BY, "answer": "granted", "reason": None, "at": "2026-11-21T03:02:00+00:00", "event": "e1"}
DECIDED = {"state": "granted", "missing": 0, "missing_from": []}


class TestApprovals:
    def test_who_grants_sees_what_plan_it_was(self, run: Run, doors: Any, pending: Any) -> None:
        asked = approval(plan=PLAN)
        pending(asked, "/intake/v1/approvals/a1", asked | {"answers": [GRANTED]})
        result = run("approve", "a1")
        assert result.exit_code == 0, result.output
        assert "granted approval a1; it needs 1 more from group:sre or group:data" in result.stdout
        assert "plan: 1 to add, 0 to change, 2 to destroy, 40 a month  (sha256:aaaaaaaaaaaa)" in result.stdout
        assert "destroy cache" in result.stdout
        rejected = GRANTED | {"answer": "rejected"}
        pending(asked, "/intake/v1/approvals/a1", asked | DECIDED | {"state": "rejected", "answers": [rejected]})
        assert json.loads(run("reject", "a1", "-o", "json").stdout)["plan"] == PLAN

    def test_what_is_said_waits_until_policy_has_ruled_on_it(self, run: Run, doors: Any) -> None:
        """Whatever else is ruled on meanwhile, be it of the same person."""
        other = {"by": BY, "reason": "nothing to take back", "at": "…", "event": "e0"}
        mine = other | {"reason": "closed: it is granted already by user:heidi", "event": "e1"}
        unruled = approval(unruled=[{"by": BY, "said": "granted", "reason": None, "at": "…", "event": "e1"}])
        granted = approval(answers=[GRANTED | {"by": "user:heidi", "event": "e2"}], refused=[other], **DECIDED)
        looks = iter([unruled, unruled, granted, granted])

        def look(_: Any) -> tuple[int, Document]:
            return 200, next(looks, granted | {"refused": [other, mine]})

        doors.asks(unruled)
        doors.answers["GET", "/catalog/v1/approvals/a1"] = look
        doors.says("POST", "/intake/v1/approvals/a1", 202, {"id": "a1", "by": BY, "event": "e1"})
        result = run("approve", "a1")
        assert result.exit_code == 4
        assert "it is granted already by user:heidi" in result.stderr

    def test_a_grant_that_was_taken_back_meanwhile_did_count(self, run: Run, pending: Any) -> None:
        taken = {"by": BY, "reason": None, "at": "…", "event": "e2", "answer": GRANTED}
        pending(approval(), "/intake/v1/approvals/a1", approval(withdrawn=[taken]))
        assert json.loads(run("approve", "a1", "-o", "json").stdout)["counted"] is True

    def test_an_approval_is_handed_on(self, run: Run, doors: Any, pending: Any) -> None:
        handed = approval(delegations=[{"by": BY, "to": "user:bob", "reason": "on leave", "at": "…", "event": "e1"}])
        pending(approval(), "/intake/v1/approvals/a1/delegate", handed)
        result = run("delegate", REQUEST[:9], "--to", "user:bob", "--reason", "on leave")
        assert result.exit_code == 0, result.output
        assert result.stdout.strip() == "user:bob may answer approval a1"
        body = doors.last("POST", "/intake/v1/approvals/a1/delegate").body
        assert body == {"to": "user:bob", "reason": "on leave"}
        assert run("delegate", "a1").exit_code == 2

    def test_a_grant_is_taken_back(self, run: Run, pending: Any) -> None:
        back = approval(withdrawn=[{"by": BY, "reason": None, "at": "…", "event": "e1", "answer": None}])
        pending(approval(answers=[GRANTED]), "/intake/v1/approvals/a1/withdraw", back)
        result = run("withdraw", "a1")
        assert result.exit_code == 0, result.output
        assert "took back the grant of approval a1" in result.stdout

    @pytest.mark.parametrize("arguments", [("withdraw", "a1"), ("delegate", "a1", "--to", "user:bob")])
    def test_what_policy_refuses_exits_with_4(self, run: Run, pending: Any, arguments: tuple[str, ...]) -> None:
        refused = approval(refused=[{"by": BY, "reason": "it is not yours to give", "at": "…", "event": "e1"}])
        pending(approval(), f"/intake/v1/approvals/a1/{arguments[0]}", refused)
        result = run(*arguments)
        assert result.exit_code == 4
        assert "it is not yours to give" in result.stderr


class TestReviews:
    def test_a_review_is_no_approval_and_an_approval_no_review(self, run: Run, doors: Any) -> None:
        doors.answers["GET", "/catalog/v1/approvals"] = lambda call: (
            200,
            {"items": [review() if call.query["review"] == "true" else approval()], "next": None},
        )
        assert run("approve", "v1").exit_code == 3
        assert run("review", "sign", "a1").exit_code == 3
        assert not [one for one in doors.received if one.method == "POST"]
        listed = run("review", "list")
        assert "group:security" in listed.stdout
        assert "the shop is down" in listed.stdout
        assert [one["id"] for one in json.loads(run("review", "list", "-o", "json").stdout)] == ["v1"]

    @pytest.mark.parametrize(
        ("arguments", "answer", "told"),
        [
            (("sign", REQUEST[:9]), {"answer": "granted"}, "signed off review v1"),
            (("object", "v1", "--reason", "no"), {"answer": "rejected", "reason": "no"}, "objected to review v1"),
        ],
    )
    def test_a_review_is_answered(
        self, run: Run, doors: Any, pending: Any, arguments: tuple[str, ...], answer: Document, told: str
    ) -> None:
        pending(review(), "/intake/v1/approvals/v1", review(**DECIDED, answers=[GRANTED | answer]))
        result = run("review", *arguments)
        assert result.exit_code == 0, result.output
        assert told in result.stdout
        assert doors.last("POST", "/intake/v1/approvals/v1").body == answer

    def test_nobody_objects_without_a_reason(self, run: Run) -> None:
        assert run("review", "object", "v1").exit_code == 2


class TestOverride:
    @pytest.fixture
    def held(self, doors: Any, item: Document) -> Document:
        holds = [{"kind": "window", "name": "nights", "because": "changes happen at night", "until": None}]
        request = item | {"state": "held", "holds": holds, "overrides": []}
        doors.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, request)
        return request

    def becomes(self, doors: Any, request: Document) -> None:
        def written(_: Any) -> tuple[int, Document]:
            doors.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, request)
            return 202, {"id": REQUEST, "by": BY, "event": "e1"}

        doors.answers["POST", f"/intake/v1/requests/{REQUEST}/override"] = written

    def test_a_held_request_begins(self, run: Run, doors: Any, held: Document) -> None:
        counted = {"by": BY, "reason": "it can't wait", "event": "e1", "counts": True, "refused": None}
        self.becomes(doors, held | {"state": "allowed", "overrides": [counted]})
        result = run("override", REQUEST, "--reason", "it can't wait")
        assert result.exit_code == 0, result.output
        assert result.stdout.strip() == f"request {REQUEST} may begin"
        assert doors.last("POST", f"/intake/v1/requests/{REQUEST}/override").body == {"reason": "it can't wait"}

    def test_who_may_not_is_told_why(self, run: Run, doors: Any, held: Document) -> None:
        why = "window nights lets only group:sre through"
        override = {"by": BY, "reason": "x", "event": "e1", "counts": False, "refused": why}
        self.becomes(doors, held | {"overrides": [override]})
        result = run("override", REQUEST, "--reason", "it can't wait")
        assert result.exit_code == 4
        assert "window nights lets only group:sre through" in result.stderr


class TestLocks:
    def test_a_lock_sends_what_was_typed(self, run: Run, doors: Any) -> None:
        doors.says("POST", "/intake/v1/locks", 201, {"id": LOCK, "until": None})
        result = run(
            "lock", "add", "-p", "ledger", "-e", "prod", "--reason", "a move", "--for", "2h",
            "--exempt", "group:sre", "--exempt", "user:ada",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert doors.received[-1].body == {
            "scope": {"project": "ledger", "environment": "prod"},
            "reason": "a move",
            "exempt": ["group:sre", "user:ada"],
            "for": "2h",
        }
        assert f"lock {LOCK}  project ledger, environment prod" in result.stdout

    def test_everything_is_locked_only_if_that_is_said(self, run: Run, doors: Any) -> None:
        doors.says("POST", "/intake/v1/locks", 201, {"id": LOCK, "until": None})
        nothing = run("lock", "add", "--reason", "x")
        assert nothing.exit_code == 2
        assert "--everything" in nothing.stderr
        assert run("lock", "add", "--reason", "x", "--everything", "-p", "shop").exit_code == 2
        assert run("lock", "add", "--reason", "an outage", "--everything").exit_code == 0
        assert doors.received[-1].body["scope"] == {}

    @pytest.mark.parametrize("until", ["2126-11-21T18:00:00+02:00", "2126-11-21T16:00Z"])
    def test_an_end_is_sent_with_its_offset(self, run: Run, doors: Any, until: str) -> None:
        doors.says("POST", "/intake/v1/locks", 201, {"id": LOCK, "until": None})
        assert run("lock", "add", "--everything", "--reason", "x", "--until", until).exit_code == 0
        assert doors.received[-1].body["until"] == "2126-11-21T16:00:00+00:00"

    @pytest.mark.parametrize(
        "wrong",
        [("--until", "tomorrow"), ("--until", "2126-11-21T16:00Z", "--for", "2h"), ("--resource", "shop/prod/cart")],
    )
    def test_what_makes_no_lock(self, run: Run, doors: Any, wrong: tuple[str, ...]) -> None:
        assert run("lock", "add", "-p", "shop", "--reason", "x", *wrong).exit_code == 2
        assert doors.received == []

    def test_locks_are_listed_and_lifted_by_a_beginning(self, run: Run, doors: Any) -> None:
        lock = {
            "id": LOCK,
            "scope": {"project": "ledger"},
            "by": "user:ada",
            "reason": "a move",
            "exempt": ["group:sre"],
            "until": None,
            "state": "active",
        }
        doors.lists("/catalog/v1/locks", lock)
        doors.says("DELETE", f"/intake/v1/locks/{LOCK}", 202, {"id": LOCK})
        listed = run("lock", "list").stdout
        assert all(text in listed for text in ("project ledger", "user:ada", "group:sre", "a move"))
        assert doors.received[-1].query["state"] == "active"
        assert run("lock", "lift", LOCK[:11], "--reason", "moved").exit_code == 0
        assert doors.received[-1].body == {"reason": "moved"}
        assert run("lock", "lift", "ffff").exit_code == 3

    def test_what_the_door_finds_wrong_is_told_by_its_option(self, run: Run, doors: Any) -> None:
        violations = [{"pointer": "/scope/resource", "detail": "is not of the project"}]
        doors.says("POST", "/intake/v1/locks", 422, {"title": "Not valid", "status": 422, "violations": violations})
        result = run("lock", "add", "-p", "shop", "--reason", "x")
        assert result.exit_code == 2
        assert "--resource: is not of the project" in result.stderr


class TestWaivers:
    GRANT = ("waiver", "grant", "Policy/sizes", "--reason", "load test", "--ticket", "OPS-812")

    def test_a_waiver_sends_what_was_typed(self, run: Run, doors: Any) -> None:
        doors.says("POST", "/intake/v1/waivers", 201, {"id": LOCK, "until": "2126-11-21T07:00:00+00:00"})
        result = run(*self.GRANT, "--rule", "0", "--request", REQUEST, "--action", "create", "--for", "7d")
        assert result.exit_code == 0, result.output
        assert doors.received[-1].body == {
            "waives": "Policy/sizes",
            "rule": 0,
            "scope": {"action": "create", "request": REQUEST},
            "reason": "load test",
            "ticket": "OPS-812",
            "for": "7d",
        }
        assert f"Policy/sizes for action create, request {REQUEST}, until 2126-11-21" in result.stdout

    @pytest.mark.parametrize(
        "wrong",
        [
            ("-p", "shop"),
            ("--for", "7d"),
            ("-p", "shop", "--for", "7d", "--rule", "-1"),
        ],
    )
    def test_a_waiver_has_a_scope_an_end_and_a_rule_that_can_be(
        self, run: Run, doors: Any, wrong: tuple[str, ...]
    ) -> None:
        assert run(*self.GRANT, *wrong).exit_code == 2
        assert doors.received == []

    @pytest.mark.parametrize("waives", ["sizes", "Policy/", "Route/chat"])
    def test_what_can_not_be_waived(self, run: Run, doors: Any, waives: str) -> None:
        result = run("waiver", "grant", waives, "-p", "shop", "--for", "1d", "--reason", "x", "--ticket", "y")
        assert result.exit_code == 2
        assert "Policy/NAME, Quota/NAME, Window/NAME" in result.stderr

    def test_waivers_are_listed_and_revoked(self, run: Run, doors: Any) -> None:
        waiver = {
            "id": LOCK,
            "waives": "Policy/sizes",
            "rule": 1,
            "scope": {},
            "by": "user:ada",
            "reason": "load test",
            "ticket": "OPS-812",
            "until": "2026-11-21T07:00:00Z",
            "state": "active",
        }
        doors.lists("/catalog/v1/waivers", waiver)
        doors.says("DELETE", f"/intake/v1/waivers/{LOCK}", 202, {"id": LOCK})
        listed = run("waiver", "list").stdout
        assert all(text in listed for text in ("Policy/sizes rule 1", "everything", "OPS-812"))
        ended = {"state": "ended", "ended": "revoked", "ended_by": "user:bob", "ended_because": "done"}
        doors.lists("/catalog/v1/waivers", waiver | ended)
        assert "revoked by user:bob: done" in run("waiver", "list", "--all").stdout
        assert "state" not in doors.received[-1].query
        assert run("waiver", "revoke", LOCK[:11]).exit_code == 0


class TestStatus:
    @pytest.fixture
    def busy(self, doors: Any, item: Document) -> Any:
        """A platform where something waits for every kind of thing."""
        hold = {"kind": "lock", "name": "l1", "because": "a move", "by": "user:ada", "until": None}
        broken = {
            "by": "user:ada",
            "reason": "the shop is down",
            "at": "2026-11-21T03:00:00Z",
            "bypassed": ["policy production asks group:sre", "lock l1"],
            "review_id": "v1",
            "reviewers": ["group:security"],
            "review_by": "2026-11-24T03:00:00Z",
            "policy": "emergencies",
        }
        asked = approval(
            plan=PLAN,
            all=True,
            answers=[GRANTED | {"reason": "fine", "in_place_of": "user:sue"}],
            missing_from=["group:data"],
            unruled=[{"by": "user:eve", "said": "rejected", "reason": "no", "at": "…", "event": "e9"}],
            delegations=[{"by": "user:sue", "to": "user:bob", "reason": "on leave", "at": "…"}],
            refused=[{"by": "user:ada", "reason": "it is her own", "at": "…"}],
            reminded_at="2026-11-21T05:00:00+00:00",
            escalates_at="2026-11-21T06:00:00+00:00",
            escalates_to=["group:managers"],
        )
        requests = [
            item | {"id": REQUEST, "state": "waiting-for-approval", "waiting_for": "group:data", "plan": PLAN},
            item | {"id": REQUEST[:-1] + "1", "state": "held", "holds": [hold]},
            item | {"id": REQUEST[:-1] + "2", "state": "planning"},
        ]
        whole = requests[0] | {
            "approvals": [asked, review()],
            "glass": broken,
            "holds": [hold],
            "overrides": [
                {
                    "by": "user:bob",
                    "reason": "now",
                    "at": "…",
                    "event": "e1",
                    "counts": False,
                    "refused": "only group:sre may",
                }
            ],
        }
        doors.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, whole)
        doors.answers["GET", "/catalog/v1/requests"] = lambda call: (
            200,
            {"items": requests if "state" in call.query else [*requests, item], "next": None},
        )
        doors.lists("/catalog/v1/approvals", review())
        doors.lists("/catalog/v1/resources")
        doors.lists(f"/catalog/v1/requests/{REQUEST}/events")
        return doors

    def test_the_overview_shows_what_waits_and_for_what(self, run: Run, busy: Any) -> None:
        shown = run("status").stdout
        titles = ["Waiting for approval", "Waiting for sign-off", "Held", "Running", "Ended lately"]
        places = [shown.index(title) for title in titles]
        assert places == sorted(places)
        assert "+1 ~0 -2" in shown
        assert "lock l1: a move (by user:ada)" in shown
        assert "group:security, due" in shown
        assert "the shop is down" in shown
        document = json.loads(run("status", "-o", "json").stdout)
        assert {name: len(items) for name, items in document.items()} == {
            "running": 1, "waiting_for_approval": 1, "held": 1, "reviews": 1, "stalled": 0, "latest": 1,
            "suspended": 0, "drifted": 0, "unobserved": 0, "ending": 0, "paused": 0,
        }  # fmt: skip

    def test_one_request_shows_everything_that_was_said_about_it(self, run: Run, busy: Any) -> None:
        shown = run("status", REQUEST).stdout
        for text in (
            "lock l1: a move (by user:ada)",
            "user:bob: now, which did not count: only group:sre may",
            "broken by user:ada: the shop is down",
            "went past policy production asks group:sre; lock l1",
            "production: 1/2 from each of group:sre, group:data, until",
            "granted by user:grace in the place of user:sue: fine",
            "rejected by user:eve: no; policy has not said yet whether it counts",
            "it needs 1 more from group:data",
            "user:sue hands on to user:bob: on leave",
            "did not count: user:ada: it is her own",
            "reminded at",
            "escalates to group:managers at",
            "production: 0/1 from group:security, due",
            "plan: 1 to add, 0 to change, 2 to destroy, 40 a month  (sha256:aaaaaaaaaaaa)",
            "destroy cache",
        ):
            assert text in shown, text


@pytest.mark.parametrize(
    "arguments",
    [("lock", "add"), ("waiver", "grant"), ("review", "sign"), ("delegate",), ("withdraw",), ("override",)],
    ids=" ".join,
)
def test_help_has_examples_and_exit_codes(run: Run, arguments: tuple[str, ...]) -> None:
    shown = run(*arguments, "--help").stdout
    assert "Example" in shown
    assert "Exit codes" in shown
