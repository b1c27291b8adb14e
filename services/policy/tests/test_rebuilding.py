"""What policy knows of others, rebuilt from the log: equal to the live one, or different where that was changed."""

import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from entresol_contracts.events import (
    EntityChanged,
    EntityRemoved,
    ManifestApplied,
    ManifestRemoved,
    RequestAllowed,
    RequestDenied,
    ResourceDeleted,
    ResourceProvisioned,
    ScorecardChanged,
    ScorecardRule,
)
from entresol_eventing.envelope import Event, encode, log_subject, types_by_model
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.rebuild_command import rebuild
from entresol_eventing.rebuilding import Rebuilt, Refused
from entresol_eventing.service import Service
from entresol_eventing.store import Database
from entresol_eventing.testing import event, eventually, nats_server, published, running
from entresol_eventing.testing.postgres import PostgresServer, binaries
from entresol_policy.app import create, rebuildable
from entresol_policy.settings import Settings
from sqlalchemy import text

from services.policy.tests.test_service import policy, request

NAMES = {"project": "shop", "environment": "prod", "offering": "database", "offering_version": "1.0.0"}


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, bus: NatsServer) -> Iterator[Settings]:
    data = tmp_path / "data"
    data.mkdir()
    if request.param == "sqlite":
        yield Settings(data=data, nats_url=bus.url)
        return
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer() as server:
        yield Settings(data=data, nats_url=bus.url, database_url=server.database(f"policy_{secrets.token_hex(4)}"))


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as server:
        yield server


def quota(limit: int) -> Event[Any]:
    spec = {"when": "true", "limit": limit}
    whole = {"apiVersion": "entresol.dev/v1", "kind": "Quota", "metadata": {"name": "databases"}, "spec": spec}
    return event(ManifestApplied(kind="Quota", name="databases", digest=f"sha256:{limit}", manifest=whole))


def provisioned(name: str, request_id: str = "r") -> Event[Any]:
    inputs: dict[str, Any] = {"inputs": {"size": "small"}, "outputs": {}, "owner": "user:ada"}
    made = {"resource_id": f"shop/prod/database/{name}", "name": name, "request_id": request_id}
    return event(ResourceProvisioned(**NAMES, **made, **inputs))


def entity(name: str, revision: int, **properties: Any) -> Event[Any]:
    document = {"properties": properties, "relations": {}}
    changed = {"blueprint": "Service", "identifier": name, "revision": revision, "changed": ["properties"]}
    return event(EntityChanged(**changed, entity=document))


def graded(name: str, *rules: ScorecardRule) -> Event[Any]:
    levels = {"level": "gold" if rules else None, "rank": len(rules), "rules": list(rules)}
    return event(ScorecardChanged(scorecard="s", blueprint="Service", identifier=name, **levels))


def whole_log() -> list[Event[Any]]:
    rule = ScorecardRule(name="r", level="gold", passed=True)
    gone = {"resource_id": "shop/prod/database/b", "name": "b", "request_id": "d"}
    return [
        policy("small", {"deny": 'request.inputs.size == "large"', "because": "too large"}),
        policy("gone", {"deny": "true", "because": "never"}),
        event(ManifestRemoved(kind="Policy", name="gone")),
        quota(5),
        *(provisioned(name) for name in "ab"),
        event(ResourceDeleted(**NAMES, **gone)),
        *(entity("cart", 1), entity("cart", 3, tier="gold"), entity("cart", 2), entity("shop", 1)),
        event(EntityRemoved(blueprint="Service", identifier="shop", revision=2)),
        *(graded("cart", rule), graded("old", rule), graded("old")),
        quota(2),
    ]


async def put(settings: Settings, *events: Event[Any]) -> None:
    connection = await connect(settings, "admin", "test")
    try:
        for one in events:
            known = types_by_model()[type(one.data)]
            await connection.jetstream().publish(log_subject(known.publisher, known, one.subject), encode(one))
    finally:
        await connection.close()


@asynccontextmanager
async def fed(settings: Settings) -> AsyncIterator[Service]:
    """A policy that has read the log, and has allowed one request, which is on its way."""
    async with running(create(settings)) as service:
        await put(settings, *whole_log(), request("c"))
        await heard(service, RequestAllowed)
        yield service


async def heard(service: Service, kind: type) -> list[Event[Any]]:
    async def look() -> list[Event[Any]]:
        return [one for one in await published(service) if isinstance(one.data, kind)]

    return await eventually(look, seconds=20)


async def rebuilt(settings: Settings, *, compare: bool) -> Rebuilt:
    return await rebuild(rebuildable(settings), settings, user="policy", compare=compare)


async def differences(settings: Settings) -> dict[str, int]:
    result = await rebuilt(settings, compare=True)
    assert result.failed == 0
    assert result.comparison is not None
    return dict(result.comparison.by_table)


def spoil(settings: Settings) -> None:
    """Do to the live database what nobody should."""
    database = Database(settings.database_for("policy"))
    with database.writer.connect() as connection, connection.begin():
        for statement in (
            "UPDATE manifest SET digest = 'x' WHERE kind = 'Policy'",
            "DELETE FROM entity",
            "DELETE FROM score",
            "DELETE FROM resource",
            "DELETE FROM share WHERE request_id = ''",
        ):
            connection.execute(text(statement))
    database.close()


async def test_what_is_rebuilt_equals_the_live_one_and_takes_its_place_while_policy_runs(settings: Settings) -> None:
    async with fed(settings) as service:
        result = await rebuilt(settings, compare=True)
        assert result.comparison is not None
        assert result.comparison.differences == []
        assert result.comparison.rows == {"entity": 1, "manifest": 2, "resource": 1, "score": 1}
        said = len(await published(service))
        spoil(settings)
        assert await differences(settings) == {"entity": 1, "manifest": 1, "resource": 1, "score": 1}
        await rebuilt(settings, compare=False)
        assert await differences(settings) == {}
        assert len(await published(service)) == said, "a rebuild says nothing again"
    async with running(create(settings)) as service:
        counted = text("SELECT request_id = '', resource_id FROM share ORDER BY resource_id")

        async def shares() -> Any:
            found = await service.read(lambda session: session.execute(counted).all())
            return len(found) == 2 and [(bool(row[0]), row[1][-1]) for row in found]

        assert await eventually(shares, seconds=20) == [(True, "a"), (False, "c")], "what is on its way counts too"
        await put(settings, request("d"))
        (denied,) = await heard(service, RequestDenied)
        assert denied.data.because == ["quota databases: 2 of 2 used, 1 asked"]


async def test_a_policy_that_has_lost_its_database_is_not_replaced(settings: Settings) -> None:
    with pytest.raises(Refused, match="has not read this log yet, and keeps more than can be rebuilt"):
        await rebuilt(settings, compare=False)


async def test_the_program_of_the_service_does_the_same(tmp_path: Path, bus: NatsServer) -> None:
    settings = Settings(data=tmp_path, nats_url=bus.url)
    environment = {"ENTRESOL_POLICY_DATA": str(tmp_path), "ENTRESOL_POLICY_NATS_URL": bus.url}
    program = [str(Path(sys.executable).with_name("entresol-policy")), "rebuild"]
    async with fed(settings):
        pass
    spoil(settings)
    for arguments, code in ((["--compare"], 1), ([], 0), (["--compare"], 0)):
        ended = run(program, environment, *arguments)
        assert ended.returncode == code, ended.stdout + ended.stderr
    assert ended.stdout.startswith("the same: 5 rows of policy")


def run(program: list[str], environment: dict[str, str], *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*program, *more], env=environment, capture_output=True, text=True, timeout=100, check=False)
