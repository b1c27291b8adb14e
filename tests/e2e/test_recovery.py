"""Rebuild, compare and refill, as an operator types them."""

import json
import shutil
import sqlite3
from pathlib import Path

from entresol.demo.child import running
from entresol.doors.client import Client

from tests.e2e.world import entresol


def positions(data: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(data / "catalog" / "catalog.db") as database:
        return database.execute("SELECT position, id FROM history ORDER BY position").fetchall()


def test_a_catalog_is_compared_and_replaced_while_the_platform_runs_and_while_it_does_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    where = ("--data", str(data))
    with running(data):
        same = entresol("rebuild", "catalog", "--compare", *where)
        assert (same.returncode, same.stderr) == (0, ""), same.stderr
        assert same.stdout.startswith("the same: ")
    with sqlite3.connect(data / "catalog" / "catalog.db") as database:
        database.execute("UPDATE manifest SET removed = 1")
    different = entresol("rebuild", "catalog", "--compare", "--output", "json", *where)
    assert different.returncode == 1, different.stderr
    told = json.loads(different.stdout)
    assert told["by_table"] == {"manifest": told["differences"]}
    assert told["first_differences"][0]["field"] == "removed"
    replaced = entresol("rebuild", "catalog", *where)
    assert replaced.returncode == 0, replaced.stderr
    with running(data):
        assert entresol("rebuild", "catalog", "--compare", *where).returncode == 0


def test_what_is_not_there_is_not_rebuilt(tmp_path: Path) -> None:
    missing = entresol("rebuild", "catalog", "--compare", "--data", str(tmp_path / "nothing"))
    assert missing.returncode == 3
    assert "there is no catalog" in missing.stderr


def test_a_platform_whose_bus_has_lost_its_disk_refills_it_and_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data):
        pass
    before = positions(data)
    shutil.rmtree(data / "nats" / "jetstream")
    with running(data) as platform:
        with Client(platform.url, platform.token) as client:
            assert client.read("/v1/offerings")["items"]
        compared = entresol("rebuild", "catalog", "--compare", "--output", "json", "--data", str(data))
        assert compared.returncode == 0, compared.stdout + compared.stderr
        assert json.loads(compared.stdout)["events"] >= len(before)
    assert positions(data)[: len(before)] == before


def test_a_refill_without_a_bus_says_which_setting_is_missing() -> None:
    unknown = entresol("refill")
    assert unknown.returncode == 2
    assert "ENTRESOL_STREAMS_NATS_URL" in unknown.stderr
    away = entresol("refill", ENTRESOL_STREAMS_NATS_URL="nats://127.0.0.1:1")
    assert away.returncode == 5, away.stderr
