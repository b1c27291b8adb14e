"""How many events a second the projection takes, whole batches with their commits, on an SQLite file. Asserts nothing.

python services/catalog/tests/throughput.py [requests]
"""

import importlib.util
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from entresol_catalog.handlers.judging import Judge
from entresol_catalog.handlers.projection import projection
from entresol_catalog.settings import Settings
from entresol_catalog.store.tables import metadata
from entresol_contracts import events as facts
from entresol_eventing.envelope import Event
from entresol_eventing.store import Database
from entresol_eventing.testing import event
from sqlmodel import Session

BATCH = 200
OVERLAP = 120
"""Requests under way at the same time, so that a request's facts fall into several batches."""


def traffic(count: int) -> list[Event[Any]]:
    """Requests as they come under load: interleaved, each with an entity and with the catalog's own facts."""
    spec = importlib.util.spec_from_file_location("conftest", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    chains = []
    for number in range(count):
        one = conftest.Traffic(name=f"orders-{number}", inputs={"size": "small", "storage_gb": 20, "tier": "gold"})
        entity = {"blueprint": "Resource", "identifier": one.resource, "properties": {"type": "postgres"}}
        chain = one.whole(entity | {"relations": {"system": "Cart"}})
        completed = facts.RequestCompleted(
            **one.about,
            offering="database",
            action="create",
            environment="staging",
            name=f"orders-{number}",
            actor="user:ada",
            outcome="succeeded",
            submitted_at=one.at,
            duration_ms=5,
        )
        chain.append(event(completed, correlationid=one.id, partitionkey=one.resource))
        chains.append(deque(chain))
    waiting, under_way, mixed = deque(chains), deque[Any](), []
    while waiting or under_way:
        while waiting and len(under_way) < OVERLAP:
            under_way.append(waiting.popleft())
        chain = under_way.popleft()
        mixed.append(chain.popleft())
        if chain:
            under_way.append(chain)
    return mixed


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    events = traffic(count)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/catalog.db")
        metadata.create_all(database.writer)
        project = projection(Settings().patience_seconds, Judge())
        connection = database.writer.connect()
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(events), BATCH):
            with connection.begin(), Session(connection) as session:
                list(project(events[start : start + BATCH], session))
        seconds, busy = time.perf_counter() - began, time.process_time() - cpu
        connection.close()
        database.close()
    print(
        f"{len(events)} events of {count} requests in batches of {BATCH}: {len(events) / seconds:,.0f} events/s, "
        f"{seconds / len(events) * 1e6:.1f} µs each ({busy / len(events) * 1e6:.1f} µs of processor)"
    )


if __name__ == "__main__":
    main()
