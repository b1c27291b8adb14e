"""G16: an unknown or invalid event never crashes a service, and is always visible.

Mutants are published as the services' own NATS users, and to ingest. The judge reads the final databases: each mutant
is in the inbox of every service that handles its type, or whole in its park; and each dead letter is in the catalog.
"""

import asyncio
import contextlib
import hashlib
import time
import urllib.error
from collections.abc import Iterator, Sequence
from typing import Any

import nats
from entresol_contracts.events import MessageParked, MessageQuarantined
from entresol_eventing.envelope import Malformed, decode
from entresol_eventing.permissions import SERVICES
from entresol_eventing.store import Database, inbox, parked
from sqlalchemy import select

from tests.faults.documents import manifests
from tests.faults.mutants import Mutant, mutants
from tests.faults.trials import Evidence, Proof, Trial
from tests.fleet import Fleet

WAIT_SECONDS = 120.0
AT_A_TIME = 100
INGEST_SUBJECT = "entresol.ingest.mutants.x"
SOURCE = {
    "apiVersion": "entresol.dev/v1",
    "kind": "Source",
    "metadata": {"name": "mutants"},
    "spec": {"kind": "nats", "allow": ["/entresol-outside"]},
}
REQUESTS = ("manifest.applied", "manifest.removed", "request.submitted", "request.cancelled")
HANDLED = {
    "policy": {("intake", fact) for fact in (*REQUESTS, "approval.answered")},
    "provisioning": {("intake", fact) for fact in REQUESTS}
    | {("policy", fact) for fact in ("request.allowed", "request.denied", "approval.rejected", "approval.expired")},
}
"""What they have handlers for; the catalog reads everything."""


def prove(trial: Trial) -> Evidence:
    made = mutants(trial.dice, trial.count(500, 5_000, 100_000))
    inside, outside = made[: len(made) * 4 // 5], made[len(made) * 4 // 5 :]
    settings = {f"ENTRESOL_{service.upper()}_MAX_ATTEMPTS": "2" for service in SERVICES}
    settings |= {f"ENTRESOL_{service.upper()}_LOG_LEVEL": "ERROR" for service in SERVICES}
    evidence = Evidence(counts={"mutants": len(made), "to EVENTS": len(inside), "to ingest": len(outside)})
    with Fleet(trial.scratch / "fleet", settings, trial.postgres) as fleet:
        fleet.call("intake", "POST", "/v1/manifests", [*manifests(None)[:2], SOURCE])
        rounds = 5
        asked = []
        for turn in range(rounds):
            asyncio.run(_publish(fleet, inside[turn::rounds], outside[turn::rounds]))
            asked.append(_ask(fleet, turn))
        trial.say("published")
        _judge_requests(fleet, asked, evidence)
        databases = {service: Database(url) for service, url in fleet.databases.items()}
        try:
            _judge_inside(fleet, databases, inside, evidence, trial)
            _judge_outside(fleet, databases["intake"], outside, evidence)
        finally:
            for database in databases.values():
                database.close()
        for service in SERVICES:
            if not (fleet.alive(service) and _is_live(fleet, service)):
                evidence.breaches.append(f"{service} has crashed, or is not live")
    return evidence


async def _publish(fleet: Fleet, inside: Sequence[Mutant], outside: Sequence[Mutant]) -> None:
    sent: dict[str, list[tuple[str, bytes]]] = {}
    for one in inside:
        sent.setdefault(one.publisher, []).append((one.log_subject, one.body))
    sent["admin"] = [(INGEST_SUBJECT, one.body.replace(b'"/entresol/', b'"/entresol-outside/')) for one in outside]
    for user, messages in sent.items():
        connection = await nats.connect(
            fleet.nats.url, user=user, password=fleet.nats.passwords[user], inbox_prefix=f"_INBOX_{user}".encode()
        )
        streams = connection.jetstream(timeout=60)
        for start in range(0, len(messages), AT_A_TIME):
            await asyncio.gather(*(streams.publish(*message) for message in messages[start : start + AT_A_TIME]))
        await connection.close()


def _ask(fleet: Fleet, number: int) -> str:
    body = {"offering": "thing", "project": "shop", "environment": "dev", "name": f"good-{number}"}
    request = fleet.call("intake", "POST", "/v1/requests", {**body, "inputs": {"size": "small"}})
    return str(request["id"])


def _judge_requests(fleet: Fleet, asked: list[str], evidence: Evidence) -> None:
    """Good requests are answered meanwhile. A mutated policy may deny them; nothing may keep them."""
    ended = _until(lambda: all(_completed(fleet, request_id) for request_id in asked))
    evidence.counts["good requests"] = len(asked)
    if not ended:
        evidence.breaches += [f"not ended: {one}" for one in asked if not _completed(fleet, one)]


def _completed(fleet: Fleet, request_id: str) -> bool:
    with contextlib.suppress(urllib.error.HTTPError, OSError):
        return bool(fleet.call("catalog", "GET", f"/v1/requests/{request_id}").get("completed_at"))
    return False


def _judge_inside(
    fleet: Fleet, databases: dict[str, Database], inside: list[Mutant], evidence: Evidence, trial: Trial
) -> None:
    handled = dead = 0
    for service in ("catalog", *HANDLED):
        wanted = [one for one in inside if service == "catalog" or _lies_at(one) in HANDLED[service]]
        _until(lambda service=service, wanted=wanted: not _missing(databases[service], wanted))
        missing = _missing(databases[service], wanted)
        evidence.breaches += [f"neither handled nor kept by {service}: {one}" for one in missing[:5]]
        if service == "catalog":
            kept = _kept(databases[service])
            dead = sum(one.body in kept for one in wanted)
            handled = len(wanted) - dead - len(missing)
            ignored = [one for one in wanted if one.kind == "future" and one.body in kept]
            evidence.counts["future fields ignored"] = sum(one.kind == "future" for one in wanted) - len(ignored)
            evidence.breaches += [f"a later minor version was not read: {one}" for one in ignored[:5]]
            unknown = [one for one in wanted if one.kind == "unknown type" and one.body not in kept]
            evidence.breaches += [f"an unknown type is not visible: {one}" for one in unknown[:5]]
    evidence.counts |= {"handled": handled, "dead letters": dead}
    trial.say("every mutant is handled or kept")
    if not _until(lambda: not _untold(fleet, databases)):
        evidence.breaches += [f"not shown by the catalog: {one}" for one in _untold(fleet, databases)[:5]]
    evidence.counts["shown"] = len(_shown(fleet))


def _lies_at(one: Mutant) -> tuple[str, str]:
    tokens = one.log_subject.split(".")
    return tokens[1], ".".join(tokens[2:4])


def _kept(database: Database) -> set[bytes]:
    return set(database.read(lambda session: list(session.execute(select(parked.c.body)).scalars())))


def _missing(database: Database, wanted: list[Mutant]) -> list[Mutant]:
    kept = _kept(database)
    query = select(inbox.c.id, inbox.c.source)
    seen = {(row.id, row.source) for row in database.read(lambda session: list(session.execute(query)))}
    return [one for one in wanted if one.body not in kept and _name(one.body) not in seen]


def _name(body: bytes) -> tuple[str, str] | None:
    try:
        event = decode(body)
    except Malformed:
        return None
    return event.id, event.source


def _untold(fleet: Fleet, databases: dict[str, Database]) -> list[tuple[str, str]]:
    """Dead letters that the catalog does not show, and what is still on its way to become one."""
    shown = {(one["service"], one["id"]) for one in _shown(fleet)}
    columns = (parked.c.id, parked.c.state, parked.c.body)
    return [
        (service, row.id)
        for service, database in databases.items()
        for row in database.read(lambda session: list(session.execute(select(*columns))))
        if row.state == "retrying" or (row.state == "dead" and (service, row.id) not in shown and not _notice(row.body))
    ]


def _notice(body: bytes) -> bool:
    """Our own notices that fail are not told of: that would never end."""
    try:
        return isinstance(decode(body).data, MessageQuarantined | MessageParked)
    except Malformed:
        return False


def _shown(fleet: Fleet) -> list[dict[str, Any]]:
    return list(_pages(fleet, "/v1/dead-letters?limit=500", "next", "cursor"))


def _judge_outside(fleet: Fleet, intake: Database, outside: list[Mutant], evidence: Evidence) -> None:
    """What came by ingest is on the log under its id, refused with its digest, or parked."""
    bodies = [one.body.replace(b'"/entresol/', b'"/entresol-outside/') for one in outside]

    def lost() -> list[bytes]:
        refused = {one["data"].get("digest") for one in _history(fleet, "delivery.refused")}
        kept = _kept(intake)
        left = [body for body in bodies if body not in kept and _digest(body) not in refused]
        evidence.counts["refused"] = len(bodies) - len(left)
        known = {one["id"] for one in _history(fleet, None)} if left else set()
        return [body for body in left if not any(f'"{event_id}"'.encode() in body for event_id in known)]

    if not _until(lambda: not lost()):
        evidence.breaches += [f"came by ingest, and nobody saw it: {body[:200]!r}" for body in lost()[:5]]


def _history(fleet: Fleet, fact: str | None) -> Iterator[dict[str, Any]]:
    chosen = f"&type=dev.entresol.{fact}.v1" if fact else ""
    after = 0
    while True:
        page = fleet.call("catalog", "GET", f"/v1/events?limit=500&after={after}{chosen}")
        for item in page["items"]:
            after = item["position"]
            yield item
        if len(page["items"]) < 500:
            return


def _pages(fleet: Fleet, path: str, named: str, parameter: str) -> Iterator[dict[str, Any]]:
    following = ""
    while True:
        page = fleet.call("catalog", "GET", path + following)
        yield from page["items"]
        if page[named] is None:
            return
        following = f"&{parameter}={page[named]}"


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def _is_live(fleet: Fleet, service: str) -> bool:
    with contextlib.suppress(RuntimeError):
        fleet.await_ready(service)
        return True
    return False


def _until(check: Any) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


PROOFS = (Proof("G16", "an unknown or invalid event never crashes a service, and is always visible", prove),)
