"""Every event that reaches notification has words, and no value can break out of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from entresol_notification.domain.sentences import LONGEST, REVIEWS, TEMPLATES, VARIANTS, fact_of, one_line, sentence
from entresol_notification.routing import heard_types

EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"


def envelope(fact: str, data: Any) -> dict[str, Any]:
    whole = {"type": f"dev.entresol.{fact}.v1", "subject": "thing", "time": "2026-11-21T10:00:00Z"}
    return {**whole, "actor": "user:ada", "data": data}


@pytest.mark.parametrize(
    ("fact", "data", "expected"),
    [
        (
            "approval.requested",
            {
                "resource_id": "shop/prod/database/orders",
                "action": "create",
                "requested_by": "user:ada",
                "approvers": ["group:sre", "user:grace"],
                "expires_at": "2026-11-21T14:00:00Z",
            },
            "request shop/prod/database/orders (create) by user:ada waits for approval by group:sre, user:grace"
            " until 14:00 UTC",
        ),
        (
            "approval.requested",
            {"resource_id": "r", "requested_by": "u", "approvers": ["g"], "expires_at": "2026-11-22T01:00:00+02:00"},
            "request r by u waits for approval by g until 23:00 UTC",
        ),
        (
            "resource.expiring",
            {"resource_id": "r", "owner": "user:ada", "expires_at": "2026-12-24T10:00:00Z"},
            "r of user:ada expires at 2026-12-24 10:00 UTC; it can still be extended: entresol extend r --for 2d",
        ),
        (
            "approval.rejected",
            {"resource_id": "r", "policy": "p", "answers": [{"by": "user:bob", "answer": "rejected"}]},
            "request r was rejected by user:bob (policy p)",
        ),
        ("run.failed", {"resource_id": "r", "action": "create", "reason": "no"}, "the run of r (create) failed: no"),
        (
            "run.failed",
            {"resource_id": "r", "action": "create", "step": "db", "reason": "no"},
            "the run of r (create) failed in step db: no",
        ),
        ("request.denied", {"resource_id": "r", "because": ["a", "b"]}, "request r was denied: a, b"),
        (
            "approval.requested",
            {
                "resource_id": "r",
                "requested_by": "u",
                "approvers": ["g"],
                "expires_at": "2026-11-21T14:00:00Z",
                "plan": {"digest": "d", "adds": 1, "changes": 0, "destroys": 2},
            },
            "request r by u waits for approval by g until 14:00 UTC; it would add 1, change 0 and destroy 2",
        ),
        (
            "approval.reminded",
            {"resource_id": "r", "approvers": ["g"], "expires_at": "2026-11-21T14:00:00Z", "review": True},
            "the glass that was broken for r still waits for review by g, due 14:00 UTC",
        ),
        (
            "request.held",
            {
                "resource_id": "r",
                "holds": [
                    {"kind": "lock", "name": "l1", "because": "a move", "by": "user:ada"},
                    {"kind": "window", "name": "nights", "because": "at night", "until": "2026-11-21T22:00:00Z"},
                ],
            },
            "request r is held: a move, at night (until 22:00 UTC)",
        ),
        (
            "lock.placed",
            {"scope": {}, "by": "user:ada", "reason": "an outage", "exempt": ["group:sre"]},
            "user:ada locked everything (but not for group:sre): an outage",
        ),
        (
            "glass.broken",
            {
                "actor": "user:ada",
                "resource_id": "r",
                "reason": "the shop is down",
                "bypassed": ["policy p asks group:sre", "lock l1"],
                "reviewers": ["group:security"],
                "review_by": "2026-11-24T10:00:00Z",
            },
            "GLASS BROKEN by user:ada for r: the shop is down; what stood in the way: policy p asks group:sre, lock l1;"
            " group:security must review it by 2026-11-24 10:00 UTC",
        ),
        (
            "resource.drifted",
            {
                "resource_id": "r",
                "owner": "user:ada",
                "mode": "report",
                "differences": [{"step": "s", "path": "a.yaml#/spec/replicas", "change": "changed"}],
                "gone": ["dns"],
            },
            "r of user:ada has drifted (report): a.yaml#/spec/replicas changed; nothing is left of dns;"
            " all of it: entresol drift r",
        ),
        (
            "resource.drifted",
            {"resource_id": "r", "owner": "user:ada", "mode": "ask", "differences": []},
            "r of user:ada has drifted (ask); all of it: entresol drift r",
        ),
        (
            "run.suspended",
            {"resource_id": "r", "step": "s", "reason": "the job runs", "resumable": False},
            "step s of the run of r waits: the job runs",
        ),
        (
            "run.suspended",
            {
                "resource_id": "r",
                "step": "s",
                "request_id": "0199a1b2",
                "reason": "look at it",
                "resumable": True,
                "until": "2026-11-21T12:00:00Z",
            },
            "the run of r, asked for by user:ada, waits in step s until 12:00 UTC at most for somebody to let it go on:"
            " look at it; entresol resume 0199a1b2",
        ),
        (
            "resource.deleted",
            {"resource_id": "r", "orphaned": [{"step": "dns", "driver": "http", "reason": "no answer"}]},
            "r was deleted; left behind: dns (no answer)",
        ),
        (
            "resource.provisioned",
            {"resource_id": "r", "owner": "user:ada", "adopted": False},
            "r was provisioned for user:ada",
        ),
        (
            "resource.provisioned",
            {"resource_id": "r", "owner": "user:ada", "adopted": True},
            "r was adopted for user:ada",
        ),
        (
            "run.failed",
            {"resource_id": "r", "action": "create", "reason": "no", "compensated": ["a", "b"], "left": ["c"]},
            "the run of r (create) failed: no; undone: a, b; still there: c",
        ),
        (
            "resume.requested",
            {"resource_id": "r", "by": "user:bob", "answer": {"password": "hunter2"}},
            "user:bob lets the run of r go on",
        ),
        (
            "request.submitted",
            {
                "resource_id": "r",
                "action": "reconcile",
                "actor": {"id": "system:drift"},
                "question": {"from": ["user:ada"], "because": "it has drifted"},
            },
            "request r (reconcile) was submitted by system:drift; user:ada must agree: it has drifted",
        ),
        ("request.denied", {"resource_id": "r"}, "request.denied: thing"),
        ("request.denied", {"resource_id": "[{because}]", "because": ["{x}"]}, "request [{because}] was denied: {x}"),
        ("something.new", {}, "something.new: thing"),
    ],
)
def test_what_is_said(fact: str, data: Any, expected: str) -> None:
    assert sentence(envelope(fact, data)) == expected


@pytest.mark.parametrize("event_type", sorted(heard_types()))
@pytest.mark.parametrize("size", ["minimal", "full"])
def test_every_event_has_words_of_its_own(event_type: str, size: str) -> None:
    fact = fact_of(event_type)
    data = json.loads((EXAMPLES / f"{fact}.v1.{size}.json").read_text(encoding="utf-8"))
    said = sentence(envelope(fact, data))
    assert said != f"{fact}: thing"
    assert not set(said) & set("{}[]\n")


def test_a_review_is_never_told_as_an_approval() -> None:
    assert set(REVIEWS) <= set(TEMPLATES)
    assert not [said for said in REVIEWS.values() if "approv" in said.replace("{approvers}", "")]


def test_every_template_is_of_an_event_that_is_heard() -> None:
    assert all(set(templates) <= set(TEMPLATES) for templates in VARIANTS.values())
    assert set(TEMPLATES) == {fact_of(one) for one in heard_types()}


@pytest.mark.parametrize("hostile", ["a\r\nBcc: eve@example.com", "a\x1b[31mred", "a\u202etxt", "a\u2028b", "a\0b"])
def test_control_characters_never_get_through(hostile: str) -> None:
    said = sentence(envelope("request.denied", {"resource_id": hostile, "because": [hostile]}))
    assert said.isprintable()
    assert one_line(hostile).isprintable()
    difference = {"step": hostile, "path": hostile, "change": "changed"}
    drifted = {
        "resource_id": hostile,
        "owner": hostile,
        "mode": "report",
        "differences": [difference],
        "gone": [hostile],
    }
    assert sentence(envelope("resource.drifted", drifted)).isprintable()
    waits = {"resource_id": hostile, "request_id": hostile, "step": hostile, "reason": hostile, "resumable": True}
    assert sentence(envelope("run.suspended", waits) | {"actor": hostile}).isprintable()


@pytest.mark.parametrize("data", [{"resumable": "yes"}, {"resumable": True}, {"adopted": []}])
def test_what_a_field_makes_of_a_fact_is_said_of_that_fact_only(data: Any) -> None:
    assert sentence(envelope("run.started", {"resource_id": "r", "action": "a"} | data)) == "the run of r (a) started"


def test_a_line_has_an_end() -> None:
    assert len(sentence(envelope("request.denied", {"resource_id": "r", "because": ["x" * 300] * 50}))) <= LONGEST
