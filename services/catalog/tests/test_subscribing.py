"""docs/subscribing.md does what it says: every block that can be run is taken from the page and run."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from entresol_catalog.app import create
from entresol_catalog.settings import Settings
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import SERVICES
from entresol_eventing.testing import make_streams, running

PAGE = Path(__file__).parents[3] / "docs" / "subscribing.md"


def block(language: str, holding: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = [one for one in blocks if holding in one]
    return str(found)


@asynccontextmanager
async def output(*command: str, **environment: str) -> AsyncIterator[asyncio.StreamReader]:
    """What a command prints, which is ended afterwards."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.communicate()


async def until(lines: asyncio.StreamReader, holding: str) -> str:
    async with asyncio.timeout(20):
        while line := (await lines.readline()).decode():
            if holding in line:
                return line
    raise AssertionError(f"the output ended without {holding!r}")


async def test_curl_shows_what_has_ended(catalog: Any, traffic: type[Any]) -> None:
    one = traffic()
    await catalog.project(*one.whole())
    environment = {"ENTRESOL_CATALOG": catalog.url, "ENTRESOL_TOKEN": catalog.tokens["viewer"]}
    async with output("sh", "-c", "exec " + block("sh", "curl"), **environment) as lines:
        await until(lines, ": connected")
        line = await until(lines, "data: ")
        assert json.loads(line.removeprefix("data: "))["data"]["request_id"] == one.id


async def test_the_python_stream_follows(catalog: Any, traffic: type[Any]) -> None:
    one, two = traffic(name="one"), traffic(name="two")
    await catalog.project(*one.whole())
    environment = {"ENTRESOL_CATALOG": catalog.url, "ENTRESOL_TOKEN": catalog.tokens["viewer"]}
    async with output(sys.executable, "-c", block("python", "httpx"), **environment) as lines:
        assert "database/one succeeded after" in await until(lines, "succeeded")
        await catalog.project(two.submitted(), two.denied())
        assert "database/two denied after" in await until(lines, "denied")


async def test_a_nats_subscriber_reads_with_the_rights_it_has(tmp_path: Path, traffic: type[Any]) -> None:
    one = traffic()
    with NatsServer(tmp_path / "nats", [*SERVICES, "subscriber", "admin"]) as server:
        await make_streams(server)
        bus = {"url": server.url, "users": {"subscriber": server.passwords["subscriber"]}}
        (tmp_path / "bus.json").write_text(json.dumps(bus))
        settings = Settings(
            data=tmp_path / "data", nats_url=server.url, nats_user="catalog", nats_password=server.passwords["catalog"]
        )
        async with running(create(settings)) as service:
            handle = service.reactions.to_batch
            assert handle is not None

            def unit(session: Any) -> Any:
                yield from handle(one.whole(), session)

            await service.transact(unit)
            code = block("python", "nats.connect")
            async with output(sys.executable, "-c", code, ENTRESOL_DATA=str(tmp_path)) as lines:
                assert one.id in await until(lines, "dev.entresol.request.completed.v1")


@pytest.mark.parametrize("name", ["ENTRESOL_CATALOG", "ENTRESOL_TOKEN"])
def test_the_page_says_where_its_variables_come_from(name: str) -> None:
    assert f"export {name}=" in block("sh", "export")
