"""Traces: what a judge may find, made by hand, to be changed into what it has to find."""

import json
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

END = "request.completed"
RUNTIME_TABLES = (
    "CREATE TABLE eventing_outbox (position INTEGER PRIMARY KEY, id TEXT, body BLOB)",
    "CREATE TABLE eventing_inbox (source TEXT, id TEXT)",
    "CREATE TABLE eventing_parked (position INTEGER, log_subject TEXT, state TEXT, attempts INTEGER, reason TEXT)",
)
OWN_TABLES = {
    "intake": ("CREATE TABLE request (request_id TEXT)",),
    "catalog": ("CREATE TABLE request (id TEXT, state TEXT)", "CREATE TABLE history (position INTEGER, id TEXT)"),
}
SERVICES = ("intake", "policy", "provisioning", "catalog", "notification")


@dataclass
class Trace:
    """What one request leaves behind that was made, committed and told of; tests change it before it is written."""

    told: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    outboxes: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in SERVICES})
    inboxes: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in SERVICES})
    parked: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=lambda: ["r1"])
    states: dict[str, str] = field(default_factory=lambda: {"r1": "succeeded"})
    history: list[str] = field(default_factory=list)
    commits: list[tuple[str, str]] = field(default_factory=lambda: [("r1", "run1/commit")])
    sink: list[dict[str, str]] = field(default_factory=list)
    file: str = "thing.yaml"
    """What each commit writes."""

    def say(self, publisher: str, fact: str, name: str, cause: str | None = None, **data: Any) -> dict[str, Any]:
        """Put an event onto the log and into its books."""
        event = self.event(publisher, fact, name, cause, **data)
        self.outboxes[publisher].append(event)
        self.log.append(event)
        self.history.append(name)
        self.inboxes["catalog"].append(name)
        return event

    def event(self, publisher: str, fact: str, name: str, cause: str | None, **data: Any) -> dict[str, Any]:
        sequence = data.pop("sequence", None)
        return {
            "id": name,
            "source": f"/entresol/{publisher}",
            "type": f"dev.entresol.{fact}.v1",
            "subject": "r1",
            "partitionkey": "shop/dev/thing/one",
            "causationid": cause,
            **({} if sequence is None else {"sequence": sequence}),
            "data": {"request_id": "r1", **data},
        }

    def drop(self, event_id: str) -> None:
        """Let the log forget it, and whoever reads the log."""
        self.log = [one for one in self.log if one["id"] != event_id]
        self.history = [one for one in self.history if one != event_id]
        self.inboxes["catalog"].remove(event_id)

    def write(self, directory: Path) -> None:
        databases = {service: f"sqlite:///{directory / service}.db" for service in SERVICES}
        repository = directory / "environments.git"
        plan = {
            "databases": databases,
            "repositories": [str(repository)],
            "told_of": [f"dev.entresol.{END}.v1"],
        }
        (directory / "judge.json").write_text(json.dumps(plan))
        lines = [
            {
                "position": position,
                "log_subject": f"entresol.{one['source'].rsplit('/', 1)[1]}.{one['type'][13:-3]}.r1",
                "body": json.dumps(one),
            }
            for position, one in enumerate(self.log, start=1)
        ]
        for name, content in (("told", self.told), ("log", lines), ("sink", self.sink)):
            (directory / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in content))
        for service in SERVICES:
            self._write_database(service, directory / f"{service}.db")
        self._write_repository(repository)

    def _write_database(self, service: str, file: Path) -> None:
        sources = {one["id"]: one["source"] for one in self.log}
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            for statement in (*RUNTIME_TABLES, *OWN_TABLES.get(service, ())):
                connection.execute(statement)
            rows = [(place, one["id"], json.dumps(one).encode()) for place, one in enumerate(self.outboxes[service])]
            connection.executemany("INSERT INTO eventing_outbox VALUES (?, ?, ?)", rows)
            seen = [(sources.get(one, "/nowhere"), one) for one in self.inboxes[service]]
            connection.executemany("INSERT INTO eventing_inbox VALUES (?, ?)", seen)
            if service == "policy":
                connection.executemany(
                    "INSERT INTO eventing_parked VALUES (1, ?, 'dead', 8, 'broken')", [(one,) for one in self.parked]
                )
            if service == "intake":
                connection.executemany("INSERT INTO request VALUES (?)", [(one,) for one in self.accepted])
            if service == "catalog":
                connection.executemany("INSERT INTO request VALUES (?, ?)", self.states.items())
                connection.executemany("INSERT INTO history VALUES (?, ?)", enumerate(self.history))
            connection.commit()

    def _write_repository(self, repository: Path) -> None:
        """By one fast-import: a process for each object would make these tests slow."""
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(repository)], check=True)
        stream = ""
        for request, step in self.commits:
            message = f"create\n\nEntresol-Request: {request}\nEntresol-Run: run1\nEntresol-Step: {step}\n"
            stream += f"commit refs/heads/main\ncommitter t <t@example.org> 0 +0000\ndata {len(message)}\n{message}"
            stream += f"M 100644 inline {self.file}\ndata 12\nsize: small\n\n"
        subprocess.run(["git", "-C", str(repository), "fast-import", "--quiet"], input=stream, text=True, check=True)


def trace() -> Trace:
    one = Trace()
    one.told = [
        {
            "told": "accepted",
            "key": "k1",
            "request": "r1",
            "action": "create",
            "file": "thing.yaml",
            "expects": ["succeeded"],
        },
        {"told": "state", "request": "r1", "state": "submitted", "revision": 1},
        {"told": "state", "request": "r1", "state": "succeeded", "revision": 5},
    ]
    one.say("intake", "request.submitted", "e1")
    one.say("policy", "request.allowed", "e2", "e1")
    one.say("provisioning", "run.started", "e3", "e2", run_id="run1")
    one.say("provisioning", "resource.provisioned", "e4", "e2", sequence=1)
    one.say("provisioning", "run.succeeded", "e5", "e2", run_id="run1")
    one.say("catalog", END, "e6", "e5", outcome="succeeded")
    one.say("notification", "notification.delivered", "e7", "e6", delivery_id="d1", event_id="e6")
    one.sink = [{"delivery": "d1", "event": "e6"}, {"delivery": "d1", "event": "e6"}]
    one.inboxes["policy"] = ["e1"]
    one.inboxes["provisioning"] = ["e1", "e2"]
    one.inboxes["notification"] = ["e6"]
    return one
