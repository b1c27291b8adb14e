"""Everything that a storm left behind, read once. Nothing is judged here."""

import hashlib
import json
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

KEPT = (
    *("request_id", "outcome", "approval_id", "answer", "run_id", "event_id", "delivery_id", "by"),
    *("action", "policy", "approvers", "count", "review", "approvals", "overridden", "glass_broken"),
    *("plan", "plan_digest", "digest", "replaces", "lock_id", "scope", "exempt"),
)
"""What is kept of an event's data: long runs leave millions of them."""
TRAILERS = ("Entresol-Request", "Entresol-Run", "Entresol-Step")


@dataclass(frozen=True, slots=True)
class Fact:
    """One event on the log, where it lies first."""

    position: int
    publisher: str
    """Who said it, told from the subject: the bus lets a service publish beneath its own name only."""
    id: str
    source: str
    type: str
    subject: str
    key: str
    sequence: int | None
    cause: str | None
    digest: bytes
    data: Mapping[str, Any]

    @property
    def fact(self) -> str:
        """`request.submitted` of `dev.entresol.request.submitted.v1`."""
        return ".".join(self.type.split(".")[2:-1])

    def __str__(self) -> str:
        return f"{self.fact} {self.id} at {self.position}"


@dataclass(frozen=True, slots=True)
class Said:
    """A row of an outbox."""

    position: int
    id: str
    digest: bytes


@dataclass(slots=True)
class Books:
    """What the runtime of one service keeps."""

    outbox: list[Said] = field(default_factory=list)
    inbox: set[tuple[str, str]] = field(default_factory=set)
    """Source and id of every event that was handled."""
    parked: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Commit:
    hash: str
    request: str
    run: str
    step: str


@dataclass(slots=True)
class Records:
    told: list[dict[str, Any]] = field(default_factory=list)
    log: list[Fact] = field(default_factory=list)
    """Each event once, where it came first."""
    copies: int = 0
    """Events that the log has once more: allowed, for they are dropped by the inbox."""
    altered: list[str] = field(default_factory=list)
    """Copies with another content, and messages that are no events."""
    gaps: list[str] = field(default_factory=list)
    books: dict[str, Books] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    """Requests in intake's database."""
    states: dict[str, str] = field(default_factory=dict)
    """Requests as the catalog shows them."""
    history: list[str] = field(default_factory=list)
    """Ids of the events in the catalog's history, in its order."""
    commits: list[Commit] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    sink: list[dict[str, Any]] | None = None
    told_of: frozenset[str] = frozenset()

    def of(self, fact: str) -> Iterator[Fact]:
        return (one for one in self.log if one.fact == fact)


def read(directory: Path) -> Records:
    """Read what the directory names; raises what the operating system or a database says if it can't be read."""
    plan = json.loads((directory / "judge.json").read_text(encoding="utf-8"))
    records = Records(told_of=frozenset(plan.get("told_of", ())))
    records.told = list(_lines(directory / "told.jsonl"))
    _read_log(directory / "log.jsonl", records)
    if (sink := directory / "sink.jsonl").exists():
        records.sink = list(_lines(sink))
    for service, url in plan.get("databases", {}).items():
        _read_database(service, url, records)
    for repository in plan.get("repositories", ()):
        if Path(repository).exists():
            _read_repository(repository, records)
    return records


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _read_log(path: Path, records: Records) -> None:
    first: dict[tuple[str, str], bytes] = {}
    expected = 1
    for line in _lines(path):
        position, subject = line["position"], line["log_subject"]
        if position != expected:
            records.gaps.append(f"the log goes on at {position} where {expected} was to come")
        expected = position + 1
        try:
            event = json.loads(line["body"])
            key = (event["source"], event["id"])
            digest = _digest(line["body"].encode())
            if (known := first.get(key)) is not None:
                records.copies += 1
                if known != digest:
                    records.altered.append(f"{event['type']} {event['id']} at {position} differs from what came first")
                continue
            first[key] = digest
            data = event.get("data") or {}
            records.log.append(
                Fact(
                    position=position,
                    publisher=subject.split(".")[1],
                    id=event["id"],
                    source=event["source"],
                    type=event["type"],
                    subject=event["subject"],
                    key=event["partitionkey"],
                    sequence=event.get("sequence"),
                    cause=event.get("causationid"),
                    digest=digest,
                    data=_kept(data),
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            records.altered.append(f"the message at {position} on {subject} is no event: {error!r}")


def _kept(data: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: data[name] for name in KEPT if name in data}
    if isinstance(plan := kept.get("plan"), dict):
        kept["plan"] = plan["digest"]
    return kept


def _read_database(service: str, url: str, records: Records) -> None:
    books = records.books[service] = Books()
    with closing(_connect(url)) as connection:
        books.outbox = [
            Said(position, event_id, _digest(bytes(body)))
            for position, event_id, body in _rows(
                connection, "SELECT position, id, body FROM eventing_outbox ORDER BY position"
            )
        ]
        books.inbox = {(one[0], one[1]) for one in _rows(connection, "SELECT source, id FROM eventing_inbox")}
        parked = _rows(connection, "SELECT log_subject, state, attempts, reason FROM eventing_parked ORDER BY position")
        books.parked = [f"{subject} is {state} after {tries}: {why}" for subject, state, tries, why in parked]
        if service == "intake":
            records.accepted = {one[0] for one in _rows(connection, "SELECT request_id FROM request")}
        if service == "catalog":
            records.states = {one[0]: one[1] for one in _rows(connection, "SELECT id, state FROM request")}
            records.history = [one[0] for one in _rows(connection, "SELECT id FROM history ORDER BY position")]


def _connect(url: str) -> Any:
    if url.startswith("sqlite:///"):
        return sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)
    return psycopg.connect(url.replace("+psycopg", ""))


def _rows(connection: Any, statement: str) -> Iterator[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.execute(statement)
    while rows := cursor.fetchmany(1000):
        yield from rows


def _read_repository(repository: str, records: Records) -> None:
    trailers = "%x00".join(f"%(trailers:key={name},valueonly,separator=%x2C)" for name in TRAILERS)
    for line in _git(repository, "log", "--all", f"--format=%H%x00{trailers}"):
        records.commits.append(Commit(*line.split("\0")))
    if _git(repository, "for-each-ref", "refs/heads/main"):
        records.files.update(_git(repository, "ls-tree", "-r", "--name-only", "main"))


def _git(repository: str, *arguments: str) -> list[str]:
    done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()
