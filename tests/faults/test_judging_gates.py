"""The judge sees who got past a gate, and that a request may be decided once more when it has another plan."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.judge.__main__ import find
from tests.faults.judge.records import read
from tests.faults.traces import END, Trace

QUESTION = {"policy": "seen-by-two", "approvers": ["group:sre"], "count": 2}
FILE = "shop/dev/thing/one/thing.yaml"


def asked(one: Trace, name: str, digest: str, cause: str) -> None:
    """Two people are asked about a plan, agree to it, and the request is allowed."""
    question = {"approval_id": f"a{name}", **QUESTION, "plan": {"digest": digest}}
    one.say("provisioning", "run.planned", f"planned{name}", cause, run_id=f"p{name}", digest=digest)
    one.say("policy", "approval.requested", f"asked{name}", f"planned{name}", **question)
    for by in ("grace", "hopper"):
        said = {"approval_id": f"a{name}", "answer": "granted", "by": f"user:{by}"}
        one.say("intake", "approval.answered", f"{by}{name}", f"asked{name}", **said)
    one.say("policy", "approval.granted", f"granted{name}", f"hopper{name}", approval_id=f"a{name}")
    allowed = {"plan_digest": digest, "approvals": [f"a{name}"]}
    one.say("policy", "request.allowed", f"allowed{name}", f"hopper{name}", **allowed)
    one.say("provisioning", "run.started", f"started{name}", f"allowed{name}", run_id=f"r{name}")


def trace(*plans: str) -> Trace:
    """A request that was locked for a while, and granted by its plan; and by each that replaced it."""
    one = Trace(file=FILE)
    one.told = [{"told": "limit", "offering": "thing", "limit": 1}]
    one.told += [{"told": "accepted", "key": "k1", "request": "r1", "action": "create", "file": FILE}]
    one.told[1]["expects"] = ["succeeded"]
    one.say("intake", "lock.placed", "locked", lock_id="l1", scope={"project": "shop", "action": "create"})
    one.say("intake", "request.submitted", "submitted", action="create")
    one.say("policy", "plan.requested", "wished", "submitted")
    one.say("intake", "lock.lifted", "lifted", lock_id="l1")
    asked(one, "1", "d1", "wished")
    for number, digest in enumerate(plans, start=2):
        asked(one, str(number), digest, f"allowed{number - 1}")
        event(one, f"planned{number}")["replaces"] = "d1"
    last = f"started{len(plans) + 1}"
    one.say("provisioning", "run.succeeded", "done", last, run_id=f"r{len(plans) + 1}")
    one.say("catalog", END, "ended", "done", outcome="succeeded")
    one.say("notification", "notification.delivered", "told", "ended", delivery_id="d1", event_id="ended")
    one.sink = [{"delivery": "d1", "event": "ended"}]
    return one


def event(one: Trace, name: str) -> dict[str, Any]:
    """The content of an event of the trace, to be changed wherever it is."""
    data: dict[str, Any] = next(event["data"] for event in one.log if event["id"] == name)
    return data


def found(one: Trace, directory: Path) -> list[str]:
    one.write(directory)
    return [str(finding) for finding in find(read(directory))]


def test_who_waits_for_every_gate_has_done_nothing_wrong(tmp_path: Path) -> None:
    assert found(trace(), tmp_path) == []


def test_a_plan_that_replaces_another_is_asked_about_and_decided_once_more(tmp_path: Path) -> None:
    assert found(trace("d2"), tmp_path) == []


def test_a_plan_that_replaces_none_is_no_reason_to_decide_once_more(tmp_path: Path) -> None:
    one = trace("d2")
    del event(one, "planned2")["replaces"]
    assert any("was decided 2 times" in finding for finding in found(one, tmp_path))


def ask_again(one: Trace) -> None:
    one.say("policy", "approval.requested", "again", "submitted", approval_id="a9", **QUESTION, plan={"digest": "d1"})


def close(one: Trace) -> None:
    """Nobody grants it: the question is closed in place of that."""
    granted = next(event for event in one.log if event["id"] == "granted1")
    granted["type"] = granted["type"].replace("granted", "closed")


FAULTS: list[tuple[str, str, Callable[[Trace], object]]] = [
    ("overstepped", "by 1 of 2 people", lambda one: event(one, "hopper1").update(by="user:grace")),
    ("overstepped", "by 1 of 2 people", lambda one: event(one, "hopper1").update(answer="rejected")),
    ("overstepped", "came while people were asked", lambda one: event(one, "granted1").update(approval_id="a9")),
    ("overstepped", "which nobody granted", close),
    ("overstepped", "is about another plan", lambda one: event(one, "asked1").update(plan={"digest": "d0"})),
    ("overstepped", "and the newest is d9", lambda one: event(one, "planned1").update(digest="d9")),
    ("overstepped", "passed lock.placed locked", lambda one: one.drop("lifted")),
    ("overstepped", "has 1 of thing, and may have 0", lambda one: one.told[0].update(limit=0)),
    ("lost", "has 0 of thing, asked for 1", lambda one: setattr(one, "file", "elsewhere.yaml")),
    ("doubled", "seen-by-two asked 2 times", ask_again),
    ("doubled", "has 2 plan.requested", lambda one: one.say("policy", "plan.requested", "again", "submitted")),
]


@pytest.mark.parametrize(("kind", "words", "change"), FAULTS, ids=[f"{kind}: {words}" for kind, words, _ in FAULTS])
def test_who_gets_past_a_gate_is_found(
    tmp_path: Path, kind: str, words: str, change: Callable[[Trace], object]
) -> None:
    one = trace()
    change(one)
    findings = found(one, tmp_path)
    assert any(finding.startswith(f"{kind}: ") and words in finding for finding in findings), findings


def test_a_lock_about_something_else_holds_nothing(tmp_path: Path) -> None:
    one = trace()
    event(one, "locked")["scope"]["action"] = "delete"
    one.drop("lifted")
    assert [finding for finding in found(one, tmp_path) if finding.startswith("overstepped")] == []
