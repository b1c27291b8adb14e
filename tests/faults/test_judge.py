"""The judge sees each kind of finding in a small directory that has exactly that fault, and nothing in one without."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.judge.__main__ import find
from tests.faults.judge.records import read
from tests.faults.storms import judge as run_judge
from tests.faults.traces import END, Trace, trace


def test_a_trace_without_faults_has_no_findings(tmp_path: Path) -> None:
    trace().write(tmp_path)
    verdict = run_judge(tmp_path)
    assert verdict.breaches == []
    assert verdict.counts["requests"] == 1
    assert verdict.counts["commits"] == 1
    assert verdict.counts["repeated notices"] == 1


Change = Callable[[Trace], object]


def shuffled(one: Trace) -> None:
    one.log[1], one.log[2] = one.log[2], one.log[1]


def swapped_in_outbox(one: Trace) -> None:
    rows = one.outboxes["provisioning"]
    rows[0], rows[1] = rows[1], rows[0]


def altered_copy(one: Trace) -> None:
    one.log.append(one.event("policy", "request.allowed", "e2", "e1", outcome="another"))


def altered_in_outbox(one: Trace) -> None:
    one.outboxes["policy"][0] = one.event("policy", "request.allowed", "e2", "e1", outcome="another")


def later_of_one_kind(one: Trace) -> None:
    one.say("intake", "request.submitted", "e8")
    one.inboxes["provisioning"].append("e8")


FAULTS: list[tuple[str, str, Change]] = [
    ("lost", "intake does not have it", lambda one: one.accepted.clear()),
    ("lost", "the log does not have it", lambda one: one.told.append(one.told[0] | {"request": "r9", "key": "k9"})),
    ("lost", "is to be cancelled", lambda one: one.told.append({"told": "cancelling", "request": "r1"})),
    (
        "lost",
        "approval a1 was granted",
        lambda one: one.told.append({"told": "answered", "request": "r1", "approval": "a1", "answer": "granted"}),
    ),
    ("lost", "succeeded without a commit", lambda one: one.commits.clear()),
    ("lost", "is not in the repository", lambda one: one.told.append(one.told[0] | {"file": "other.yaml"})),
    ("lost", "was not received", lambda one: one.sink.clear()),
    ("lost", "was not told of request.completed", lambda one: one.sink.clear()),
    ("stuck", "has not ended", lambda one: one.drop("e6")),
    ("stuck", "has parked a message", lambda one: one.parked.append("entresol.intake.request.submitted.r1")),
    ("doubled", "has 2 request.completed", lambda one: one.say("catalog", END, "e8", "e5", outcome="failed")),
    ("doubled", "ended 2 times", lambda one: one.say("provisioning", "run.failed", "e8", "e2", run_id="run1")),
    ("doubled", "was decided 2 times", lambda one: one.say("policy", "approval.expired", "e8", "e1")),
    ("doubled", "has 2 run.started", lambda one: one.say("provisioning", "run.started", "e8", "e2", run_id="run2")),
    ("doubled", "was committed 2 times", lambda one: one.commits.append(("r1", "run1/commit"))),
    ("doubled", "key k1 was answered with", lambda one: one.told.append(one.told[0] | {"request": "r2"})),
    ("doubled", "was delivered as", lambda one: one.sink.append({"delivery": "d2", "event": "e6"})),
    ("doubled", "history has e3 twice", lambda one: one.history.append("e3")),
    ("doubled", "twice", lambda one: one.outboxes["policy"].append(one.outboxes["policy"][0])),
    ("disordered", "lies before its cause", shuffled),
    ("disordered", "before others that lie before it", swapped_in_outbox),
    (
        "disordered",
        "has sequence 1 after",
        lambda one: one.say("provisioning", "resource.changed", "e8", "e2", sequence=1),
    ),
    (
        "disordered",
        "goes back",
        lambda one: one.say("provisioning", "run.progressed", "e8", "e2", run_id="run1"),
    ),
    ("disordered", "history has", lambda one: one.history.reverse()),
    ("disordered", "then as submitted", lambda one: one.told.append(one.told[1])),
    ("unexplained", "is in no outbox", lambda one: one.outboxes["policy"].clear()),
    ("unexplained", "outbox is not on the log", lambda one: one.drop("e4")),
    ("unexplained", "which is not on the log", lambda one: one.inboxes["policy"].append("e9")),
    ("unexplained", "follows from e9", lambda one: one.say("policy", "answer.refused", "e8", "e9")),
    ("unexplained", "does not say what it follows from", lambda one: one.log[2].update(causationid=None)),
    ("unexplained", "which was not allowed", lambda one: one.commits.append(("r9", "run9/commit"))),
    ("unexplained", "names no step", lambda one: one.commits.append(("r1", ""))),
    ("unexplained", "was told of e9", lambda one: one.sink.append({"delivery": "d9", "event": "e9"})),
    ("unexplained", "nobody may have it", lambda one: one.told.append(one.told[0] | {"action": "delete"})),
    ("inconsistent", "differs from what came first", altered_copy),
    ("inconsistent", "is not what policy's outbox says", altered_in_outbox),
    ("inconsistent", "policy has not handled request.submitted e8", later_of_one_kind),
    ("inconsistent", "history lacks", lambda one: one.history.remove("e3")),
    ("inconsistent", "facts under 2 keys", lambda one: one.log[3].update(partitionkey="r1")),
    ("contradicted", "only denied is right", lambda one: one.told[0].update(expects=["denied"])),
    ("contradicted", "the catalog shows running", lambda one: one.states.update(r1="running")),
    ("contradicted", "which is not how it ended", lambda one: one.told[2].update(state="failed")),
    (
        "contradicted",
        "nothing on the log says so",
        lambda one: one.log[4].update(type="dev.entresol.run.failed.v1"),
    ),
    (
        "contradicted",
        "was refused with 422",
        lambda one: one.told.append({"told": "refused", "key": "k2", "status": 422, "body": "no"}),
    ),
]


@pytest.mark.parametrize(("kind", "words", "change"), FAULTS, ids=[f"{kind}: {words}" for kind, words, _ in FAULTS])
def test_a_fault_is_found(tmp_path: Path, kind: str, words: str, change: Change) -> None:
    one = trace()
    change(one)
    one.write(tmp_path)
    findings = find(read(tmp_path))
    assert any(found.kind == kind and words in found.what for found in findings), findings


def test_a_copy_on_the_log_is_counted_and_allowed(tmp_path: Path) -> None:
    one = trace()
    one.log.append(one.log[1])
    one.write(tmp_path)
    verdict = run_judge(tmp_path)
    assert verdict.breaches == []
    assert verdict.counts["copies"] == 1


def test_a_hole_in_the_log_is_found(tmp_path: Path) -> None:
    trace().write(tmp_path)
    file = tmp_path / "log.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2] + lines[3:]))
    assert any(one.kind == "disordered" and "where 3 was to come" in one.what for one in find(read(tmp_path)))


def test_the_judge_imports_nothing_of_the_platform() -> None:
    code = "import sys, tests.faults.judge.__main__;print([one for one in sys.modules if one.startswith('entresol')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
