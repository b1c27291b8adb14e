"""Order: nothing overtakes. Copies don't count; an event's place is where it came first."""

from collections import defaultdict
from collections.abc import Mapping

from tests.faults.judge.findings import DISORDERED, UNEXPLAINED, Finding, Findings
from tests.faults.judge.records import Fact, Records
from tests.faults.judge.requests import RUN_ENDS

RUN: Mapping[str, int] = {"run.planned": 0, "run.started": 1, "run.progressed": 2, **dict.fromkeys(RUN_ENDS, 3)}
"""How far a run is when it says this."""


def judge(records: Records) -> Findings:
    for gap in records.gaps:
        yield Finding(DISORDERED, gap)
    yield from _as_recorded(records)
    yield from _causes(records)
    yield from _sequences(records)
    yield from _runs(records)
    yield from _history(records)


def _as_recorded(records: Records) -> Findings:
    """The log has each service's events in the order in which its outbox does."""
    for service, books in records.books.items():
        recorded = {one.id: one.position for one in books.outbox}
        last = 0
        for fact in records.log:
            if fact.publisher == service and (position := recorded.get(fact.id)) is not None:
                if position < last:
                    yield Finding(DISORDERED, f"{fact} of {service} was said before others that lie before it")
                last = max(last, position)


def _causes(records: Records) -> Findings:
    places = {fact.id: fact.position for fact in records.log}
    for fact in records.log:
        if fact.cause is None:
            if fact.publisher != "intake" and "request_id" in fact.data:
                yield Finding(UNEXPLAINED, f"{fact} does not say what it follows from")
            continue
        cause = places.get(fact.cause)
        if cause is None:
            yield Finding(UNEXPLAINED, f"{fact} follows from {fact.cause}, which is not on the log")
        elif cause > fact.position:
            yield Finding(DISORDERED, f"{fact} lies before its cause at {cause}")


def _sequences(records: Records) -> Findings:
    last: dict[tuple[str, str, str], Fact] = {}
    for fact in records.log:
        if fact.sequence is None:
            continue
        key = (fact.publisher, fact.fact.split(".")[0], fact.key)
        before = last.get(key)
        if before is not None and before.sequence is not None and fact.sequence <= before.sequence:
            yield Finding(DISORDERED, f"{fact} has sequence {fact.sequence} after {before} with {before.sequence}")
        last[key] = fact


def _runs(records: Records) -> Findings:
    last: dict[str, Fact] = {}
    for fact in records.log:
        if fact.fact in RUN and (run := fact.data.get("run_id")) is not None:
            before = last.get(run)
            if before is not None and RUN[fact.fact] < RUN[before.fact]:
                yield Finding(DISORDERED, f"run {run} goes back: {fact} after {before}")
            last[run] = fact


def _history(records: Records) -> Findings:
    """The catalog has the events of each partition key in the order of the log."""
    places = {fact.id: fact for fact in records.log}
    last: defaultdict[str, int] = defaultdict(int)
    for event_id in records.history:
        fact = places.get(event_id)
        if fact is not None:
            if fact.position < last[fact.key]:
                yield Finding(DISORDERED, f"the catalog's history has {fact} after the event at {last[fact.key]}")
            last[fact.key] = max(last[fact.key], fact.position)
