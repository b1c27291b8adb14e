"""Gates: requests that are planned, asked about, held by a lock and counted in a quota, while anything is killed.

Each client has a project of its own. There it asks for more than its quota lets it have, and for things that two
people have to agree to when they have seen the plan: one of them is locked until they have, one is rejected, and one is
changed twice at once, so that the second change needs another plan than was agreed to. One of the two answers twice.
"""

from typing import Any

from tests.faults.kills import kill_anything
from tests.faults.load import Load
from tests.faults.storms import storm
from tests.faults.trials import SQLITE, Evidence, Proof, Scale, Trial

LIMIT = 3
CROWD = 5
"""How many things each client asks for of which it may have `LIMIT`."""
PAUSE_SECONDS = 1.5
"""Kills come at most so far apart: a journey has many stages, and they are to strike in all of them."""


class Gated(Load):
    """Clients that have to pass every gate there is."""

    second_approver = ""

    def __enter__(self) -> "Gated":
        self.second_approver = self.token("user:hopper")
        self.tell("limit", offering="counted", limit=LIMIT)
        super().__enter__()
        return self

    def travel(self, number: int) -> None:
        project = f"gate-{number}"
        lock = self.lock({"project": project, "environment": "locked"})
        locked = self._ask("reviewed", (project, "locked", "one"))
        crowd = [self._ask("counted", (project, "dev", f"one-{each}"), "succeeded", "denied") for each in range(CROWD)]
        unwanted = self._ask("reviewed", (project, "dev", "unwanted"), "rejected")
        changed = self._ask("reviewed", (project, "dev", "changed"))
        self.answer(unwanted, self.await_approval(unwanted), "rejected")
        self._see_through(locked)
        self._see_through(changed)
        changes = [self._ask("reviewed", (project, "dev", "changed"), size=size) for size in ("medium", "large")]
        for change in changes:
            self._see_through(change)
        self.lift(lock)
        for request in (locked, unwanted, *crowd):
            self.await_end(request)

    def _ask(self, offering: str, place: tuple[str, str, str], *expects: str, size: str = "small") -> str:
        action = "create" if size == "small" else "update"
        key = "-".join((self._prefix, *place, size))
        return self.ask(key, offering, place, {"size": size}, action, expects or ("succeeded",))

    def _see_through(self, request: str) -> None:
        """Grant whatever is asked about the request until it has ended or is held."""
        answered: set[str] = set()

        def look(shown: dict[str, Any]) -> bool | None:
            for approval in (one["id"] for one in shown["approvals"] if one["state"] == "pending"):
                if approval not in answered:
                    answered.add(approval)
                    for approver in (self.approver, self.approver, self.second_approver):
                        self.answer(request, approval, "granted", approver)
            return True if shown["completed_at"] or shown["state"] == "held" else None

        self.await_seen(f"what {request} waits for", request, look)


def gates() -> list[dict[str, Any]]:
    """Something that two people agree to by its plan, and something of which each project may have so many."""

    def offering(name: str) -> dict[str, Any]:
        files = {f"{name}.yaml": "size: {{ inputs.size | tojson }}\n"}
        step = {"name": "commit", "driver": "gitops", "with": {"destination": "environments", "files": files}}
        inputs = {"type": "object", "properties": {"size": {"type": "string"}}}
        return {"inputs": inputs, "actions": {"create": {"steps": [step]}, "update": {"steps": [step]}}}

    policy = {
        "when": 'request.offering == "reviewed"',
        "plan": True,
        "rules": [{"approve": {"from": ["group:sre"], "count": 2}, "because": "two have seen it"}],
    }
    quota = {"when": 'resource.offering == "counted"', "per": "resource.project", "limit": LIMIT}
    documents: list[tuple[str, dict[str, str], dict[str, Any]]] = [
        ("Offering", {"name": "reviewed", "version": "1.0.0"}, offering("reviewed")),
        ("Offering", {"name": "counted", "version": "1.0.0"}, offering("counted")),
        ("Policy", {"name": "seen-by-two"}, policy),
        ("Quota", {"name": "so-many-each"}, quota),
    ]
    return [
        {"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}
        for kind, metadata, spec in documents
    ]


def prove_gates_hold(trial: Trial) -> Evidence:
    """Kill any service or the bus while requests stand before every kind of gate."""
    share = 1 if trial.database == SQLITE or trial.scale == Scale.LONG else 2
    journeys, kills = trial.count(6, 40, 2000) // share, trial.count(10, 80, 3000) // share
    kill = kill_anything(trial)
    return storm(trial, journeys, kills, kill, most_pause_seconds=PAUSE_SECONDS, documents=gates(), kind=Gated)


PROOFS = (
    Proof("G1c", "nobody gets past a plan, an approval, a lock or a quota, whatever is killed", prove_gates_hold),
)
