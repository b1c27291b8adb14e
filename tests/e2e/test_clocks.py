"""A window that opens at night, in another time zone, in the night in which clocks change."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from entresol.demo.child import running

from tests.e2e.conftest import THING
from tests.e2e.people import Town, eventually, town

EVENING = datetime(2027, 3, 27, 20, tzinfo=UTC)
WINDOW = {
    "apiVersion": "entresol.dev/v1",
    "kind": "Window",
    "metadata": {"name": "nights"},
    "spec": {
        "when": 'request.environment == "prod"',
        "effect": "allow",
        "cron": "30 2 * * *",
        "duration": "2h",
        "timeZone": "Europe/Berlin",
        "because": "production changes at night",
    },
}


class Clock:
    """The clock of a platform."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def write(self, to: datetime) -> None:
        scratch = self.file.with_suffix(".new")
        scratch.write_text(to.isoformat())
        os.replace(scratch, self.file)

    def set(self, to: datetime) -> None:
        """Set it, and return when the platform goes by it."""
        self.write(to)
        shown = self.file.with_suffix(".shown")
        eventually(lambda: shown.exists() and shown.read_text() == to.isoformat(), "the clock to be set", lambda: None)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    made = Clock(tmp_path / "clock")
    made.write(EVENING)
    return made


@pytest.fixture
def place(clock: Clock, tmp_path: Path) -> Iterator[Town]:
    with running(tmp_path / "data", "--bare", module=("tests.e2e.clocked", str(clock.file))) as child:
        for found in town(child):
            found.apply(tmp_path, THING)
            yield found


def test_what_waits_for_the_night_begins_when_it_comes(place: Town, clock: Clock, tmp_path: Path) -> None:
    place.apply(tmp_path, json.dumps(WINDOW))
    ada = place.admin
    asked = ada.asks("cart", environment="prod")
    held = ada.sees(asked, "held")
    assert held["holds"][0]["until"].startswith("2027-03-28T01:00:00"), "half past two is skipped: at the change"
    clock.set(datetime(2027, 3, 28, 0, 59, tzinfo=UTC))
    place.settle()
    assert ada.request(asked)["state"] == "held"
    clock.set(datetime(2027, 3, 28, 1, 0, 1, tzinfo=UTC))
    ada.sees(asked, "succeeded")
    clock.set(datetime(2027, 3, 28, 12, tzinfo=UTC))
    assert ada.sees(ada.asks("pay", environment="prod"), "held")["holds"][0]["until"].startswith("2027-03-29T00:30:00")
