"""Requests: what was accepted is there, ends once, and ends as clients were told.

A line of `told.jsonl` is one of

- `{"told": "accepted", "key", "request", "action", "file", "expects"}`: a 202 for a request, with the ends it may have;
- `{"told": "cancelling", "request"}` and `{"told": "answered", "request", "approval", "answer"}`: a 202 for those;
- `{"told": "state", "request", "state", "revision"}`: what the read door showed, in the order in which it was seen;
- `{"told": "refused", "key", "status", "body"}`: an answer that a client could not accept;
- `{"told": "limit", "offering", "limit"}`: a 202 for a quota: each project may have so many of the offering.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults.judge.findings import (
    CONTRADICTED,
    DISORDERED,
    DOUBLED,
    INCONSISTENT,
    LOST,
    STUCK,
    Finding,
    Findings,
)
from tests.faults.judge.records import Fact, Records

VERDICTS = frozenset({"request.allowed", "request.denied", "approval.rejected", "approval.expired"})
"""What policy says of a request, once for each plan; a cancellation may come before it says anything."""
RUN_ENDS = frozenset({"run.succeeded", "run.failed", "run.cancelled"})
ENDS: Mapping[str, str] = {
    "succeeded": "run.succeeded",
    "failed": "run.failed",
    "cancelled": "run.cancelled",
    "denied": "request.denied",
    "rejected": "approval.rejected",
    "expired": "approval.expired",
}
"""Which fact each outcome stands for."""


def judge(records: Records) -> Findings:
    about: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in records.log:
        if (request := fact.data.get("request_id")) is not None:
            about[request].append(fact)
    yield from _accepted(records, about)
    yield from _answers(records, about)
    yield from _shown(records, about)
    for request, facts in about.items():
        yield from _ends(request, facts, records)


def _accepted(records: Records, about: Mapping[str, list[Fact]]) -> Findings:
    by_key: dict[str, str] = {}
    for line in _told(records, "accepted"):
        request = line["request"]
        if (before := by_key.setdefault(line["key"], request)) != request:
            yield Finding(DOUBLED, f"key {line['key']} was answered with {before} and with {request}")
        if "intake" in records.books and request not in records.accepted:
            yield Finding(LOST, f"{request} was accepted, and intake does not have it")
        facts = about.get(request, ())
        if not any(one.fact == "request.submitted" for one in facts):
            yield Finding(LOST, f"{request} was accepted, and the log does not have it")
            continue
        end = next((one for one in facts if one.fact == "request.completed"), None)
        if end is not None and end.data["outcome"] not in line["expects"]:
            yield Finding(
                CONTRADICTED,
                f"{request} ended as {end.data['outcome']} where only {' or '.join(line['expects'])} is right",
            )
    for line in _told(records, "refused"):
        yield Finding(CONTRADICTED, f"{line['key']} was refused with {line['status']}: {line['body']}")


def _answers(records: Records, about: Mapping[str, list[Fact]]) -> Findings:
    for line in _told(records, "cancelling"):
        if not any(one.fact == "request.cancelled" for one in about.get(line["request"], ())):
            yield Finding(LOST, f"{line['request']} is to be cancelled, and the log does not have it")
    for line in _told(records, "answered"):
        if not any(
            one.fact == "approval.answered" and one.data["approval_id"] == line["approval"]
            for one in about.get(line["request"], ())
        ):
            yield Finding(LOST, f"approval {line['approval']} was {line['answer']}, and the log does not have it")


def _shown(records: Records, about: Mapping[str, list[Fact]]) -> Findings:
    last: dict[str, dict[str, Any]] = {}
    for line in _told(records, "state"):
        request = line["request"]
        before = last.get(request)
        if before is not None and line["revision"] < before["revision"]:
            yield Finding(
                DISORDERED,
                f"{request} was shown as {before['state']} at revision {before['revision']}, "
                f"then as {line['state']} at {line['revision']}",
            )
        last[request] = line
        end = next((one for one in about.get(request, ()) if one.fact == "request.completed"), None)
        if line["state"] in ENDS and (end is None or end.data["outcome"] != line["state"]):
            yield Finding(CONTRADICTED, f"{request} was shown as {line['state']}, which is not how it ended")


def _ends(request: str, facts: list[Fact], records: Records) -> Findings:
    for fact in ("request.submitted", "plan.requested", "request.completed"):
        found = [one for one in facts if one.fact == fact]
        if len(found) > 1:
            yield Finding(DOUBLED, f"{request} has {len(found)} {fact}: {', '.join(map(str, found))}")
    found = [one for one in facts if one.fact in RUN_ENDS]
    if len(found) > 1:
        yield Finding(DOUBLED, f"{request} ended {len(found)} times: {', '.join(map(str, found))}")
    for since in _since_each_plan(facts):
        started = [one for one in since if one.fact == "run.started"]
        if len(started) > 1:
            yield Finding(DOUBLED, f"{request} has {len(started)} run.started: {', '.join(map(str, started))}")
        decided = [one for one in since if one.fact in VERDICTS]
        if len(decided) > 1:
            yield Finding(DOUBLED, f"{request} was decided {len(decided)} times: {', '.join(map(str, decided))}")
    if len(keys := {one.key for one in facts}) > 1:
        yield Finding(INCONSISTENT, f"{request} has facts under {len(keys)} keys: {', '.join(sorted(keys))}")
    completed = [one for one in facts if one.fact == "request.completed"]
    if not completed:
        yield Finding(STUCK, f"{request} has not ended; its last fact is {facts[-1]}")
        return
    outcome = completed[0].data["outcome"]
    if not any(one.fact == ENDS[outcome] for one in facts):
        yield Finding(CONTRADICTED, f"{request} is said to have {outcome}, and nothing on the log says so")
    if "catalog" in records.books and records.states.get(request) != outcome:
        yield Finding(
            CONTRADICTED, f"{request} ended as {outcome}, and the catalog shows {records.states.get(request)}"
        )


def _since_each_plan(facts: list[Fact]) -> Iterator[list[Fact]]:
    """The facts up to the first plan that replaces one that was approved, and from each such plan to the next."""
    since: list[Fact] = []
    for fact in facts:
        if fact.fact == "run.planned" and fact.data.get("replaces"):
            yield since
            since = []
        since.append(fact)
    yield since


def _told(records: Records, what: str) -> Iterator[dict[str, Any]]:
    return (one for one in records.told if one["told"] == what)
