"""A small service of the tests' own: it counts requests, and fails where it is told to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from entresol_eventing import testing
from entresol_eventing.nats_server import NatsServer


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with testing.nats_server(tmp_path / "nats") as server:
        yield server
