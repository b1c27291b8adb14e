"""Real servers for the runtime's tests, and the two kinds of store that every one of them runs on."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from entresol_eventing import testing
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.testing.postgres import PostgresServer, binaries


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with testing.nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        yield server


_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    make: Callable[[str], str] = request.getfixturevalue("postgres").database
    return make(f"store{next(_numbers)}")
