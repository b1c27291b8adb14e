"""A running intake without a bus (it takes what its door takes), and manifests to ask things of."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from entresol_eventing.service import Service
from entresol_eventing.testing import migrated
from entresol_intake.app import MIGRATIONS, create
from entresol_intake.settings import Settings

Document = dict[str, Any]
Make = Callable[..., Document]
Connect = Callable[[str], httpx.AsyncClient]
Enter = Callable[..., Awaitable[httpx.AsyncClient]]

ADMIN = "entresol_admin-token-for-tests-0123456789"


def offering(version: str = "1.0.0", name: str = "database", **spec: Any) -> Document:
    return {
        "apiVersion": "entresol.dev/v1",
        "kind": "Offering",
        "metadata": {"name": name, "version": version},
        "spec": {
            "environments": ["dev", "prod"],
            "inputs": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"enum": ["small", "large"]},
                    "backups": {"type": "boolean", "default": True},
                },
                "additionalProperties": False,
            },
            "lifetime": {"default": "30d", "max": "90d"},
            "actions": {"create": {"steps": []}, "restart": {"steps": []}},
            **spec,
        },
    }


def manifest(_kind: str, _name: str, **spec: Any) -> Document:
    return {"apiVersion": "entresol.dev/v1", "kind": _kind, "metadata": {"name": _name}, "spec": spec}


@pytest.fixture
def make_offering() -> Make:
    return offering


@pytest.fixture
def make_manifest() -> Make:
    return manifest


@pytest.fixture
def make_ask() -> Make:
    def make(**fields: Any) -> Document:
        sane = {
            "offering": "database",
            "project": "shop",
            "environment": "dev",
            "name": "orders",
            "inputs": {"size": "small"},
        }
        return {name: value for name, value in (sane | fields).items() if value is not None}

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    token, keys = tmp_path / "token", tmp_path / "keys"
    token.write_text(ADMIN + "\n")
    keys.write_text("k" * 32 + "\n")
    data = tmp_path / "intake"
    data.mkdir(mode=0o700)
    (data / "intake.db").write_bytes(migrated(MIGRATIONS))
    return Settings(
        data=data,
        nats_url="nats://127.0.0.1:1",
        admin_token_file=token,
        link_key_file=keys,
        grace_seconds=1,
        catalog_url="https://entresol.example/catalog",
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    built = create(settings)
    await built.start()
    yield built
    await built.stop()


def client(service: Service, token: str = "") -> httpx.AsyncClient:
    """A client of the door with the given token, or with none."""
    assert service.http is not None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=service.http), base_url="http://intake", headers=headers)


@pytest.fixture
def connect(service: Service) -> Connect:
    return partial(client, service)


@pytest.fixture
async def admin(connect: Connect) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(ADMIN) as client:
        yield client


@pytest.fixture
async def stocked(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """The admin's client, with the offering `database` applied."""
    answer = await admin.post("/v1/manifests", json=[offering()])
    assert answer.status_code == 202, answer.text
    return admin


@pytest.fixture
def enter(stocked: httpx.AsyncClient, connect: Connect) -> Enter:
    """Issue a token and return a client that uses it."""

    async def issue(role: str = "developer", actor: str = "user:ada", **fields: Any) -> httpx.AsyncClient:
        answer = await stocked.post("/v1/tokens", json={"actor": actor, "role": role, **fields})
        assert answer.status_code == 201, answer.text
        return connect(answer.json()["token"])

    return issue
