"""The floor: as many durable hops as a request takes, by nats-py alone, without database, contract or HTTP."""

import asyncio
import json
import time
from pathlib import Path

import nats
from entresol_eventing.nats_server import NatsServer
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, StreamConfig

HOPS = 5
BATCH = 200


async def _stage(url: str, hop: int, count: int, arrived: dict[bytes, float]) -> None:
    connection = await nats.connect(url)
    streams = connection.jetstream()
    config = ConsumerConfig(durable_name=f"hop{hop}", filter_subject=f"floor.{hop}")
    reader = await streams.pull_subscribe(f"floor.{hop}", stream="FLOOR", durable=f"hop{hop}", config=config)
    done = 0
    while done < count:
        try:
            messages = await reader.fetch(BATCH, timeout=5)
        except nats.errors.TimeoutError:
            continue
        done += len(messages)
        if hop + 1 < HOPS:
            await publish(connection, f"floor.{hop + 1}", [one.data for one in messages])
        else:
            moment = time.perf_counter()
            for one in messages:
                arrived[one.data] = moment
        for one in messages:
            await one.ack()
    await connection.close()


async def publish(connection: Client, subject: str, bodies: list[bytes]) -> None:
    """Publish durably: alone, or as one atomic batch."""
    if len(bodies) == 1:
        answer = await connection.request(subject, bodies[0], timeout=10)
    else:
        batch = f"{subject}-{time.perf_counter_ns()}"
        for number, body in enumerate(bodies[:-1], start=1):
            headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            await connection.publish(subject, body, headers=headers)
        last = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(len(bodies)), "Nats-Batch-Commit": "1"}
        answer = await connection.request(subject, bodies[-1], timeout=10, headers=last)
    if "error" in json.loads(answer.data):
        raise RuntimeError(answer.data.decode())


async def _run(data: Path, count: int, batch: int) -> tuple[list[float], float]:
    with NatsServer(data) as server:
        connection = await nats.connect(server.url)
        await connection.jetstream().add_stream(StreamConfig(name="FLOOR", subjects=["floor.*"], allow_atomic=True))
        arrived: dict[bytes, float] = {}
        stages = [asyncio.create_task(_stage(server.url, hop, count, arrived)) for hop in range(HOPS)]
        await asyncio.sleep(0.3)
        sent: dict[bytes, float] = {}
        for start in range(0, count, batch):
            bodies = [f"{number:08d}".encode() + b"x" * 400 for number in range(start, min(count, start + batch))]
            moment = time.perf_counter()
            sent |= dict.fromkeys(bodies, moment)
            await publish(connection, "floor.0", bodies)
            if batch == 1:
                while bodies[0] not in arrived:  # noqa: ASYNC110  (a poll costs the floor less than an event)
                    await asyncio.sleep(0.0002)
        await asyncio.gather(*stages)
        await connection.close()
        latencies = sorted(arrived[body] - moment for body, moment in sent.items())
        return latencies, max(arrived.values()) - min(sent.values())


def idle(data: Path, count: int) -> list[float]:
    """Seconds through all hops, one message at a time, sorted."""
    return asyncio.run(_run(data, count, 1))[0]


def throughput(data: Path, count: int) -> float:
    """Messages per second through all hops, in batches."""
    return count / asyncio.run(_run(data, count, BATCH))[1]
