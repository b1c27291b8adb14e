"""G6: what can't be handled is kept whole, blocks nobody, and can be tried again once the bug is fixed.

The judge compares bytes: what was published, what the park holds, and what a mended reader is given on a redrive.
"""

import asyncio
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import nats
from entresol_contracts.events import MessageQuarantined, MessageRedriven, RedriveRequested
from entresol_eventing import consumer
from entresol_eventing.envelope import Event, Malformed, decode, encode, new_id
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.service import Service
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.store import outbox, parked
from entresol_eventing.testing import event, eventually, nats_server, running
from sqlalchemy import func, select, text

from tests.faults.brittle import NAME, SUBJECT, Brittle, merged
from tests.faults.trials import Evidence, Proof, Trial

HUGE = 20
"""Messages of a megabyte; more would only fill the disk."""
WAIT_SECONDS = 300.0
AT_A_TIME = 100


def poison(trial: Trial, number: int) -> dict[str, list[bytes]]:
    """By kind; no two have the same bytes, so that each can be told from all others."""
    kinds = ("not JSON", "cut", "wrong types", "unknown type", "handler fails", "huge", "deep", "no text", "no key")
    made: dict[str, list[bytes]] = {kind: [] for kind in kinds}
    for at in range(number):
        kind = kinds[at % len(kinds)]
        if kind == "huge" and len(made[kind]) == HUGE:
            kind = "not JSON"
        made[kind].append(_poison(trial, kind, at))
    return made


def _poison(trial: Trial, kind: str, number: int) -> bytes:
    good = encode(event(merged("broken", number)))
    document = json.loads(good)
    match kind:
        case "not JSON":
            return b"poison %d " % number + trial.dice.randbytes(20)
        case "cut":
            return good[: trial.dice.randrange(60, len(good) - 1)]
        case "wrong types":
            wrong = trial.dice.choice(["id", "type", "time", "data", "partitionkey"])
            value: object = trial.dice.choice([[], {}, 7, None, True])
            return json.dumps(document | {wrong: value, "number": number}).encode()
        case "unknown type":
            return json.dumps(document | {"type": f"dev.entresol.change.unheard{number}.v1"}).encode()
        case "huge":
            return b'{"number": %d, "x": "' % number + b"x" * 1_000_000
        case "deep":
            return b'{"number": %d, "data": ' % number + b"[" * 10_000 + b"]" * 10_000 + b"}"
        case "no text":
            return good.replace(b'"broken"', b'"\xff\xfe\xc0"')
        case "no key":
            return json.dumps(document | {"partitionkey": "a\0b"}).encode()
        case _:
            return good


def prove(trial: Trial) -> Evidence:
    logging.getLogger("entresol_eventing").setLevel(logging.CRITICAL)  # it warns of each message, rightly
    with nats_server(trial.scratch / "nats") as server:
        return asyncio.run(_prove(trial, server))


async def _prove(trial: Trial, server: NatsServer) -> Evidence:
    number = trial.count(200, 1_000, 10_000)
    bad = poison(trial, number)
    good = [encode(event(merged("good", at))) for at in range(number)]
    sent = [*(body for bodies in bad.values() for body in bodies), *good]
    trial.dice.shuffle(sent)
    brittle = Brittle(trial.scratch / "brittle")
    brittle.break_all("broken")
    url = trial.postgres.database("poison") if trial.postgres else ""
    evidence = Evidence(counts={"poison": number, "good": number})
    settings = RuntimeSettings(data=brittle.broken.parent, nats_url=server.url, database_url=url, max_attempts=2)
    async with running(brittle.service(settings), ready_seconds=60) as service:
        await _publish(server, sent)
        await _judge(trial, evidence, service, bad, good)
        brittle.mend()
        await _redrive(evidence, service, server, bad)
    return evidence


async def _publish(server: NatsServer, bodies: list[bytes], subject: str = SUBJECT) -> None:
    connection = await nats.connect(server.url)
    streams = connection.jetstream(timeout=60)
    for start in range(0, len(bodies), AT_A_TIME):
        await asyncio.gather(*(streams.publish(subject, body) for body in bodies[start : start + AT_A_TIME]))
    await connection.close()


async def _judge(
    trial: Trial, evidence: Evidence, service: Service, bad: dict[str, list[bytes]], good: list[bytes]
) -> None:
    wanted = Counter(body for bodies in bad.values() for body in bodies)
    await _eventually(evidence, "good messages were blocked", lambda: _is(service, _handled, len(good)))
    await _eventually(evidence, "poison is not dead", lambda: _is(service, _dead, wanted.total()))
    trial.say("all good messages are handled, all poison is dead")
    kept = Counter(await service.read(lambda session: list(session.execute(select(parked.c.body)).scalars())))
    for kind, bodies in bad.items():
        lost = [body for body in bodies if body not in kept]
        evidence.breaches += [f"lost or changed ({kind}): {body[:80]!r}" for body in lost[:5]]
    evidence.counts["kept whole"] = (kept & wanted).total()
    told = Counter(one.data.digest for one in await _said(service, MessageQuarantined))
    digests = {_digest(body) for body in wanted}
    evidence.counts["told of once"] = sum(told[digest] == 1 for digest in digests)
    if evidence.counts["told of once"] != len(digests):
        evidence.breaches.append("a dead letter was told of not at all, or twice")
    if kept.total() != wanted.total():
        evidence.breaches.append(f"{kept.total()} are kept, {wanted.total()} were sent")


async def _redrive(evidence: Evidence, service: Service, server: NatsServer, bad: dict[str, list[bytes]]) -> None:
    """The reader is mended: whatever it is given is taken for an event, and its bytes are noted."""
    seen: Counter[bytes] = Counter()

    def mended(body: bytes) -> Event[Any]:
        try:
            event_ = decode(body)
        except Malformed:
            event_ = event(merged("mended", 0), id=_digest(body))
        if isinstance(event_.data, type(merged("", 0))):
            seen[body] += 1
        return event_

    wanted = {body for bodies in bad.values() for body in bodies}
    order = event(RedriveRequested(service=NAME, by="user:ada", reason="the bug is fixed"), id=new_id())
    with mock.patch.object(consumer, "decode", mended):
        await _publish(server, [encode(order)], "entresol.intake.redrive.requested.x")
        await _eventually(evidence, "redriven messages are not handled", lambda: _is(service, _left, 0))
    evidence.counts["redriven"] = len(await _said(service, MessageRedriven))
    evidence.counts["same bytes"] = len(wanted & seen.keys())
    if evidence.counts["redriven"] != len(wanted) or evidence.counts["same bytes"] != len(wanted):
        evidence.breaches.append("a redriven message was not handled with the bytes that were published")
    rows = await service.read(lambda session: session.execute(text("SELECT event_id FROM counted")).scalars().all())
    twice = [event_id for event_id, times in Counter(rows).items() if times > 1]
    evidence.counts["handled twice"] = len(twice)
    evidence.breaches += [f"handled twice: {event_id}" for event_id in twice[:5]]


async def _eventually(evidence: Evidence, breach: str, check: Any) -> None:
    try:
        await eventually(check, seconds=WAIT_SECONDS)
    except AssertionError as late:
        evidence.breaches.append(f"{breach}: {late}")


async def _is(service: Service, query: Any, number: int) -> bool:
    await asyncio.sleep(0.05)
    return bool(await service.read(lambda session: session.execute(query()).scalar_one()) == number)


def _handled() -> Any:
    return text("SELECT count(*) FROM counted WHERE key = 'good'")


def _dead() -> Any:
    return select(func.count()).select_from(parked).where(parked.c.state == "dead")


def _left() -> Any:
    return select(func.count()).select_from(parked)


async def _said(service: Service, kind: type) -> list[Event[Any]]:
    bodies = await service.read(lambda session: list(session.execute(select(outbox.c.body)).scalars()))
    return list(_of(kind, bodies))


def _of(kind: type, bodies: list[bytes]) -> Iterator[Event[Any]]:
    for body in bodies:
        said = decode(body)
        if isinstance(said.data, kind):
            yield said


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


PROOFS = (Proof("G6", "a poison message is kept whole, blocks nobody, can be redriven", prove),)
