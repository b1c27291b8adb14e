"""What must be true after the chains have run: one sentence for each check, answered from what can be seen outside."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from entresol.commands.catalog import relations
from entresol.demo.chains import Chain
from entresol.demo.ground import Ground
from entresol.doors.client import COMPLETED

Document = Mapping[str, Any]
SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    sentence: str
    holds: bool
    found: str = ""
    """What was there instead."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be seen of the platform from outside, after everything has settled."""

    entities: Sequence[Document]
    commits: Sequence[str]
    """Subjects of the destination's commits, newest first."""
    service_files: Sequence[str]
    history: Sequence[Document]
    dead_letters: Sequence[Document]


def look(ground: Ground, chains: Mapping[str, Chain]) -> Seen:
    """Wait until the catalog and the receiver have all, then look at everything there is."""
    admin = ground.admin
    service = chains["service"]
    _settle(lambda: _has_entity(ground, "Component", service.resource.rpartition("/")[2]))
    _settle(lambda: len(ground.receiver.taken) >= _expected_notifications(list(admin.history())))
    for chain in chains.values():
        if chain.request:
            chain.events = admin.chain(str(chain.request["id"]))
    repository = str((service.request.get("outputs") or {}).get("repository") or "missing.git")
    return Seen(
        entities=list(admin.every("/v1/entities")),
        commits=git(ground.repositories / _destination(ground), "log", "--format=%h %s", "main"),
        service_files=git(ground.repositories / repository, "ls-tree", "-r", "--name-only", "HEAD"),
        history=list(admin.history()),
        dead_letters=list(admin.every("/v1/dead-letters")),
    )


def judge(ground: Ground, chains: Mapping[str, Chain], seen: Seen) -> Iterator[Check]:
    """Every check, in the order of the story."""
    for chain in chains.values():
        right = chain.outcome == chain.expected
        yield Check(f"{chain.title}: {chain.expected}", right, f"{chain.outcome} {chain.remark}")
    yield from _decisions(chains)
    yield from _outside(chains)
    yield from _ends(chains, seen)
    yield from _repositories(chains, seen)
    yield from _catalog(ground, chains, seen)
    yield from _notifications(ground, seen)
    yield from _log(seen)


def _decisions(chains: Mapping[str, Chain]) -> Iterator[Check]:
    denied, approved = chains["denied"], chains["approved"]
    because = "; ".join(denied.request.get("because") or [])
    yield Check("the denial names its reason", "only the data team" in because, because)
    yield Check("what was denied never ran", "run.started" not in denied.facts, str(denied.facts))
    yield Check("the asker's own approval did not count", bool(approved.notes.get("refused")), "it did")
    order = [one for one in approved.facts if one in ("approval.requested", "approval.granted", "run.started")]
    expected = ["approval.requested", "approval.granted", "run.started"]
    yield Check("production ran only after the approval", order == expected, str(order))


def _outside(chains: Mapping[str, Chain]) -> Iterator[Check]:
    merged, artifact, wrong = chains["merged"], chains["artifact"], chains["wrong"]
    yield Check(
        "a repeated webhook is known as a repeat",
        bool(merged.notes.get("again", {}).get("duplicate")),
        str(merged.notes),
    )
    yield Check("a forged webhook is refused", merged.notes.get("forged") == 401, str(merged.notes))
    again = artifact.notes.get("again", {})
    yield Check("a repeated CI event is known as a repeat", again.get("duplicates") == 1, str(again))
    for chain, first in ((merged, "change.merged"), (artifact, "artifact.published")):
        counts = Counter(chain.facts)
        right = chain.facts[:2] == [first, "request.submitted"] and counts["request.submitted"] == 1
        yield Check(f"{chain.title}: one chain from the event to the end", right, str(chain.facts))
    pointers = sorted(pointer for pointer, _ in wrong.notes.get("violations", ()))
    told = any("replicas" in one for one in pointers) and len(pointers) >= 2
    yield Check("wrong inputs are told by their place", told, str(pointers))
    counted = (wrong.notes.get("before"), wrong.notes.get("after"))
    yield Check(
        "wrong inputs leave nothing behind", counted[0] == counted[1], f"{counted[0]} requests, then {counted[1]}"
    )


def _ends(chains: Mapping[str, Chain], seen: Seen) -> Iterator[Check]:
    passing = chains["passing"]
    yield Check(
        "the environment was deleted by nobody's hand", passing.request.get("actor") == "system:expiry", passing.remark
    )
    begun = _time_of(seen.history, "resource.provisioned", passing.resource)
    over = _time_of(seen.history, "resource.expired", passing.resource)
    lived = (over - begun).total_seconds() if begun and over else 0.0
    yield Check("it lived as long as was asked for", 1.0 <= lived <= 10.0, f"{lived:.1f} s")


def _repositories(chains: Mapping[str, Chain], seen: Seen) -> Iterator[Check]:
    written = [chains[name] for name in ("approved", "merged", "artifact", "passing")]
    expected = len(written) + 1  # the environment was written and taken away
    yield Check("one commit for each change of the destination", len(seen.commits) == expected, str(seen.commits))
    wanted = {"Dockerfile", "README.md"}
    yield Check(
        "the new service has a repository with code", wanted <= set(seen.service_files), str(seen.service_files)
    )


def _catalog(ground: Ground, chains: Mapping[str, Chain], seen: Seen) -> Iterator[Check]:
    there = {(str(one["blueprint"]), str(one["identifier"])): one for one in seen.entities}
    brought = {(str(one["spec"]["blueprint"]), str(one["metadata"]["name"])): one["spec"] for one in ground.imported}
    lost = [key for key in brought if key not in there]
    yield Check(f"all {len(brought)} imported entities are in the catalog", not lost, str(lost))
    differing = [
        key
        for key, spec in brought.items()
        if key in there and (there[key].get("relations") or {}) != (spec.get("relations") or {})
    ]
    yield Check("their relations are what was imported", not differing, str(differing))
    service = ("Component", chains["service"].resource.rpartition("/")[2])
    yield Check("the new service is a component", service in there, str(sorted(there)))
    nowhere = [
        (str(one["identifier"]), name, target) for one in seen.entities for name, target, gone in relations(one) if gone
    ]
    expected = [("shop-prod-checkout", "component", "checkout")]
    yield Check("the one relation that leads nowhere is marked, none else", nowhere == expected, str(nowhere))
    gone = ("Environment", "shop-try-out")
    yield Check("the expired environment is not in the catalog", gone not in there, "it is")


def _notifications(ground: Ground, seen: Seen) -> Iterator[Check]:
    receiver = ground.receiver
    expected = _expected_notifications(seen.history)
    yield Check(
        f"{expected} notifications reached the receiver", len(receiver.taken) == expected, str(len(receiver.taken))
    )
    yield Check("every one was signed", receiver.refused == 0, f"{receiver.refused} were not")


def _log(seen: Seen) -> Iterator[Check]:
    completed = Counter(str(one["data"]["request_id"]) for one in seen.history if one["type"] == COMPLETED)
    submitted = {str(one["data"]["request_id"]) for one in seen.history if one["type"].endswith("request.submitted.v1")}
    right = set(completed) == submitted and set(completed.values()) <= {1}
    yield Check(f"each of {len(submitted)} requests has exactly one end", right, str(completed))
    ids = [one["id"] for one in seen.history]
    known: set[str] = set()
    early = [one["id"] for one in seen.history if not _cause_known(one, known)]
    yield Check(f"{len(ids)} events, each behind its cause", not early, str(early))
    yield Check("no dead letters", not seen.dead_letters, str(seen.dead_letters))


def _cause_known(event: Document, known: set[str]) -> bool:
    known.add(str(event["id"]))
    return event.get("causationid") is None or str(event["causationid"]) in known


def _expected_notifications(history: Sequence[Document]) -> int:
    told = ("request.completed.v1", "approval.requested.v1", "resource.expired.v1")
    return sum(str(event["type"]).endswith(told) for event in history)


def _destination(ground: Ground) -> str:
    """Name of the repository that the starter platform's destination writes to."""
    found = (one["manifest"] for one in ground.admin.every("/v1/manifests", kind="Destination"))
    return next(
        (str(one["spec"]["repository"]) for one in found if one["metadata"]["name"] == "environments"), "missing"
    )


def _time_of(history: Sequence[Document], fact: str, resource: str) -> datetime | None:
    for event in history:
        if event["type"] == f"dev.entresol.{fact}.v1" and event["data"].get("resource_id") == resource:
            return datetime.fromisoformat(event["time"])
    return None


def _has_entity(ground: Ground, blueprint: str, identifier: str) -> bool:
    entities = ground.admin.every("/v1/entities", blueprint=blueprint)
    return any(one["identifier"] == identifier for one in entities)


def _settle(there: Callable[[], bool]) -> None:
    """Wait until it is there; the checks say so if it never is."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not there() and time.monotonic() < deadline:
        time.sleep(0.05)


def git(repository: Path, *arguments: str) -> list[str]:
    """The lines that git prints; none if the repository is not there."""
    command = ["git", "--git-dir", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
