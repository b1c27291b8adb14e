"""The life of a request, folded from facts: plain values in, plain values out."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from entresol_catalog.domain.approvals import Answer, Approval
from entresol_catalog.domain.requests import TERMINAL, Request
from entresol_catalog.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

BEGAN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
Fold = Callable[[Request, datetime], bool]


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def submitted() -> Request:
    return Request(
        id="r1",
        resource="shop/staging/database/orders",
        project="shop",
        environment="staging",
        offering="database",
        offering_version="1.0.0",
        action="create",
        name="orders",
        inputs={},
        actor="user:ada",
        dry_run=False,
        reason=None,
        trigger=None,
        correlationid="r1",
        submitted_at=BEGAN,
        updated_at=BEGAN,
        since=BEGAN,
    )


def approval(approval_id: str = "a1") -> Approval:
    return Approval(
        id=approval_id,
        request="r1",
        resource="shop/staging/database/orders",
        project="shop",
        policy="production",
        approvers=["group:sre"],
        count=1,
        not_self=True,
        because=None,
        requested_by="user:ada",
        requested_at=BEGAN,
        expires_at=at(3600),
    )


def no(reason: str | None) -> list[Answer]:
    return [Answer("user:bob", "rejected", reason, BEGAN)]


FACTS: dict[str, Fold] = {
    "ask": lambda request, when: request.ask(approval(), when),
    "grant": lambda request, when: request.grant("a1", [Answer("user:bob", "granted", None, BEGAN)], when),
    "reject": lambda request, when: request.reject("a1", no("not today"), when),
    "expire": lambda request, when: request.expire("a1", "production", [], when),
    "allow": lambda request, when: request.allow(when),
    "deny": lambda request, when: request.deny(["too large"], when),
    "cancel": lambda request, when: request.cancel("user:ada", "wrong size", when),
    "plan": lambda request, when: request.show({"digest": "sha256:aa"}, when),
    "start": lambda request, when: request.start("run", ["one", "two"], ["one"], when),
    "one": lambda request, when: request.progress("one", "succeeded", 1, None, ["two"], when),
    "two again": lambda request, when: request.progress("two", "retrying", 1, "busy", [], when),
    "two": lambda request, when: request.progress("two", "succeeded", 2, None, [], when),
    "succeed": lambda request, when: request.succeed({"host": "db"}, when),
    "fail": lambda request, when: request.fail("no space", "two", when),
    "stop": lambda request, when: request.stop("cancelled by user:ada", when),
}


def folded(*names: str) -> Request:
    request = submitted()
    for second, name in enumerate(names, start=1):
        FACTS[name](request, at(second))
    return request


@pytest.mark.parametrize(
    ("names", "state", "waiting_for"),
    [
        ("", "submitted", "policy"),
        ("ask", "waiting-for-approval", "approval by group:sre until 2026-11-21T11:00:00Z"),
        ("ask, grant", "waiting-for-approval", "policy"),
        ("ask, grant, allow", "allowed", "provisioning"),
        ("ask, cancel", "waiting-for-approval", "provisioning"),
        ("allow", "allowed", "provisioning"),
        ("allow, plan", "planned", "provisioning"),
        ("allow, plan, ask", "waiting-for-approval", "approval by group:sre until 2026-11-21T11:00:00Z"),
        ("allow, start", "running", "provisioning"),
        ("allow, start, plan", "running", "provisioning"),
        ("allow, start, one, two, succeed", "succeeded", None),
        ("allow, plan, succeed", "succeeded", None),
        ("start, allow", "running", "provisioning"),
        ("start, ask", "running", "provisioning"),
        ("deny", "denied", None),
        ("ask, reject", "rejected", None),
        ("ask, expire", "expired", None),
        ("allow, start, fail", "failed", None),
        ("ask, cancel, stop", "cancelled", None),
        ("deny, stop", "denied", None),
        ("stop, succeed", "cancelled", None),
    ],
)
def test_a_request_is_where_its_facts_have_brought_it(names: str, state: str, waiting_for: str | None) -> None:
    request = folded(*filter(None, names.split(", ")))
    assert (request.state, request.waiting_for) == (state, waiting_for)


@pytest.mark.parametrize(
    ("names", "because"),
    [
        ("deny", ["too large"]),
        ("ask, reject", ["not today"]),
        ("ask, expire", ["the approval that production asks for was not given in time"]),
        ("start, fail", ["step two: no space"]),
        ("stop", ["cancelled by user:ada"]),
        ("start, succeed", []),
    ],
)
def test_an_end_says_why(names: str, because: list[str]) -> None:
    assert folded(*names.split(", ")).because == because


def test_a_rejection_without_a_reason_says_whose_it_was() -> None:
    request = folded("ask")
    request.reject("a1", no(None), at(5))
    assert request.because == ["rejected by user:bob"]


def test_waits_add_up_to_the_duration() -> None:
    request = submitted()
    request.ask(approval(), at(2))
    request.allow(at(10))
    request.start("run", ["one"], ["one"], at(13))
    request.succeed({}, at(20.5))
    assert request.waits == {"policy": 2000, "approval": 8000, "queue": 3000, "run": 7500}
    assert request.duration_ms == 20_500 == sum(request.waits.values())


def test_steps_show_how_far_a_run_has_come() -> None:
    def steps(request: Request) -> list[tuple[str, str, int]]:
        return [(step.name, step.state, step.attempt) for step in request.steps]

    assert steps(folded("start")) == [("one", "running", 1), ("two", "pending", 0)]
    assert steps(folded("start", "one")) == [("one", "succeeded", 1), ("two", "running", 1)]
    assert steps(folded("start", "one", "two again")) == [("one", "succeeded", 1), ("two", "retrying", 1)]
    assert steps(folded("start", "one", "two")) == [("one", "succeeded", 1), ("two", "succeeded", 2)]
    assert steps(folded("start", "one", "fail")) == [("one", "succeeded", 1), ("two", "failed", 1)]
    assert steps(folded("start", "stop")) == [("one", "cancelled", 1), ("two", "cancelled", 0)]
    assert steps(folded("start", "succeed")) == [("one", "succeeded", 1), ("two", "succeeded", 1)]


def test_an_approval_ends_with_its_request() -> None:
    assert [one.state for one in folded("ask", "stop").approvals] == ["closed"]
    assert [one.state for one in folded("ask", "expire").approvals] == ["expired"]
    assert [one.state for one in folded("ask", "allow").approvals] == ["granted"]


def test_an_answer_is_shown_until_it_is_refused() -> None:
    request = folded("ask")
    assert request.hear("a1", Answer("user:ada", "granted", None, at(2)), at(2))
    assert [one.by for one in request.approvals[0].answers] == ["user:ada"]
    assert request.refuse("a1", "user:ada", "the requester's own answer does not count", at(3))
    assert request.approvals[0].answers == []
    assert [(one.by, one.at) for one in request.approvals[0].refused] == [("user:ada", at(2))]
    assert not request.hear("a1", Answer("user:ada", "granted", None, at(2)), at(4))


def test_a_stall_is_told_once_and_forgotten_when_somebody_moves() -> None:
    request = folded("allow")
    patience = Settings().patience_seconds
    assert request.look_again_at(patience) == at(1 + 300)
    assert request.stall("allowed", at(1))
    assert not request.stall("allowed", at(1))
    assert request.look_again_at(patience) is None
    request.start("run", [], [], at(400))
    assert request.stalled_since is None
    assert request.look_again_at(patience) == at(400 + 3600)


def test_a_stall_that_comes_too_late_is_not_shown() -> None:
    request = folded("allow", "start")
    assert not request.stall("allowed", at(1))
    assert request.stalled_since is None


def test_an_approval_is_not_late_before_it_ends() -> None:
    assert folded("ask").look_again_at(Settings().patience_seconds) == at(3600 + 60)


USUAL = ["ask", "grant", "allow", "start", "one", "two again", "two", "succeed"]


@given(st.lists(st.sampled_from(sorted(FACTS)), max_size=30), st.lists(st.sampled_from(sorted(FACTS)), max_size=30))
def test_the_first_end_is_final(before: list[str], after: list[str]) -> None:
    request = folded(*before, "stop")
    ended = (request.state, request.because, request.completed_at, request.outputs, list(request.steps))
    for name in after:
        assert not FACTS[name](request, at(99))
    assert ended == (request.state, request.because, request.completed_at, request.outputs, list(request.steps))
    assert request.state in TERMINAL


@given(st.permutations(USUAL), st.lists(st.sampled_from(USUAL)))
def test_no_order_and_no_repetition_changes_how_it_ends(shuffled: list[str], repeated: list[str]) -> None:
    request = folded(*shuffled, *repeated, "succeed")
    assert (request.state, request.outputs, request.waiting_for) == ("succeeded", {"host": "db"}, None)


@given(st.data())
def test_a_fact_that_comes_again_changes_nothing(data: st.DataObject) -> None:
    names: list[Any] = []
    for name in USUAL:
        names.append(name)
        names += data.draw(st.lists(st.sampled_from(list(dict.fromkeys(names)))))
    once, often = submitted(), submitted()
    for second, name in enumerate(USUAL, start=1):
        FACTS[name](once, at(second))
    for name in names:
        FACTS[name](often, at(USUAL.index(name) + 1))
    assert once == often
    assert once.revision == 1 + len(USUAL)
