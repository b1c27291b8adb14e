"""Books: every outbox is on the log, the log has nothing else, and every inbox has what the log had for it."""

from collections import defaultdict

from tests.faults.judge.findings import DOUBLED, INCONSISTENT, STUCK, UNEXPLAINED, Finding, Findings
from tests.faults.judge.records import Books, Records


def judge(records: Records) -> Findings:
    for altered in records.altered:
        yield Finding(INCONSISTENT, altered)
    for service, books in records.books.items():
        yield from _outbox(service, books, records)
        yield from _inbox(service, books, records)
        for parked in books.parked:
            yield Finding(STUCK, f"{service} has parked a message: {parked}")
    if "catalog" in records.books:
        yield from _history(records)


def _outbox(service: str, books: Books, records: Records) -> Findings:
    on_log = {fact.id: fact for fact in records.log if fact.publisher == service}
    recorded: set[str] = set()
    for said in books.outbox:
        if said.id in recorded:
            yield Finding(DOUBLED, f"the outbox of {service} has {said.id} twice")
        recorded.add(said.id)
        fact = on_log.get(said.id)
        if fact is None:
            yield Finding(UNEXPLAINED, f"event {said.id} at {said.position} of {service}'s outbox is not on the log")
        elif fact.digest != said.digest:
            yield Finding(INCONSISTENT, f"{fact} is not what {service}'s outbox says")
    for event_id in on_log.keys() - recorded:
        yield Finding(UNEXPLAINED, f"{on_log[event_id]} is in no outbox: {service} has lost it")


def _inbox(service: str, books: Books, records: Records) -> Findings:
    """Who has handled one event of a kind has handled every later one.

    A service reads what it has handlers or routes for, and only it knows which; but whatever kind it has handled once
    it must have handled ever after.
    """
    on_log = {(fact.source, fact.id) for fact in records.log}
    for _, event_id in sorted(books.inbox - on_log):
        yield Finding(UNEXPLAINED, f"{service} has handled {event_id}, which is not on the log")
    wanted: defaultdict[tuple[str, str], bool] = defaultdict(bool)
    for fact in records.log:
        if (fact.source, fact.id) in books.inbox:
            wanted[fact.publisher, fact.type] = True
        elif wanted[fact.publisher, fact.type]:
            yield Finding(INCONSISTENT, f"{service} has not handled {fact}")


def _history(records: Records) -> Findings:
    seen: set[str] = set()
    for event_id in records.history:
        if event_id in seen:
            yield Finding(DOUBLED, f"the catalog's history has {event_id} twice")
        seen.add(event_id)
    for fact in records.log:
        if fact.id not in seen:
            yield Finding(INCONSISTENT, f"the catalog's history lacks {fact}")
