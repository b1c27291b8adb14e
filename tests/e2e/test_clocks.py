"""What follows from the time: a window in the night in which clocks change, the end of lives, the spread of looks."""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from entresol.demo import receiver as receivers
from entresol.demo.child import running
from entresol.demo.receiver import Receiver, receiving

from tests.e2e.conftest import THING
from tests.e2e.people import Document, Person, Town, eventually, town
from tests.e2e.world import Repository

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
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
LIVES = """\
apiVersion: entresol.dev/v1
kind: Channel
metadata: {name: inbox}
spec: {kind: webhook, url: "%(url)s", secretRef: "file:%(secret)s"}
---
apiVersion: entresol.dev/v1
kind: Route
metadata: {name: ends}
spec:
  on: [dev.entresol.resource.expiring.v1, dev.entresol.resource.expired.v1, dev.entresol.resource.deleted.v1]
  channel: inbox
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: lodging, version: 1.0.0}
spec:
  lifetime: {default: 3d, max: 20d}
  actions: {create: {steps: [{name: make, driver: noop, with: {outputs: {}}}]}}
"""
PAGES = """\
apiVersion: entresol.dev/v1
kind: Destination
metadata: {name: infra}
spec: {repository: infra.git, create: true}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: page, version: 1.0.0}
spec:
  drift: {every: 1h}
  actions:
    create:
      steps:
        - name: page
          driver: gitops
          with: {destination: infra, path: "pages/${resource.name}", files: {page.yaml: "title: Home\\n"}}
"""
COUNT = 30
PAGE: Document = {"project": "shop", "environment": "dev", "offering": "page", "action": "create", "inputs": {}}


class Clock:
    """The clock of a platform."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = ""
        """Of the platform, once it is up."""

    def read(self) -> datetime:
        """What it was set to last."""
        return datetime.fromisoformat(self.file.read_text())

    def write(self, to: datetime) -> None:
        scratch = self.file.with_suffix(".new")
        scratch.write_text(to.isoformat())
        os.replace(scratch, self.file)

    def set(self, to: datetime) -> None:
        """Set it to a later time, and return when the platform goes by it and its doors say so."""
        self.write(to)
        second = to.replace(microsecond=0)
        eventually(lambda: parsedate_to_datetime(httpx.head(self.url).headers["date"]) >= second, "the clock to be set")


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    made = Clock(tmp_path_factory.mktemp("time") / "clock")
    made.write(EVENING)
    return made


@pytest.fixture(scope="module")
def place(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    data = tmp_path_factory.mktemp("platform") / "data"
    with running(data, "--bare", module=("tests.e2e.clocked", str(clock.file))) as child:
        clock.url = child.url
        for found in town(child):
            found.apply(data, THING)
            yield found


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Of somebody whose clock is not the platform's."""
    monkeypatch.setattr(receivers, "TOLERANCE_SECONDS", float("inf"))
    with receiving(SECRET) as receiver:
        yield receiver


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


def test_the_end_of_a_life_is_told_a_day_and_an_hour_before_and_is_put_off_by_an_extension(
    place: Town, clock: Clock, inbox: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    place.apply(tmp_path, LIVES % {"url": inbox.url, "secret": tmp_path / "secret"})
    ada, begun_at = place.admin, clock.read()
    ada.sees(ada.asks("house", offering="lodging"), "succeeded")
    ada.sees(ada.asks("tent", "--lifetime", "1h", offering="lodging"), "succeeded")
    house, tent = (f"shop/dev/lodging/{name}" for name in ("house", "tent"))

    def told(resource_id: str, *facts: str) -> None:
        """Those facts of it have reached the receiver, in that order, and no others."""

        def those() -> list[str]:
            events = [one.event for one in inbox.taken]
            return [one["type"].split(".")[3] for one in events if one["data"]["resource_id"] == resource_id]

        eventually(lambda: len(those()) >= len(facts), f"{resource_id} to be told of", those)
        assert those() == list(facts)

    def after(**time: float) -> None:
        clock.set(begun_at + timedelta(seconds=1, **time))

    def ending() -> dict[str, str]:
        return {one["id"]: one["state"] for one in ada.reads("status")["ending"]}

    after(minutes=31)
    told(tent, "expiring")
    after(minutes=55)
    told(tent, "expiring", "expiring")
    ada.finds(tent, "to end soon", lambda one: one["state"] == "expiring")
    assert ending() == {tent: "expiring"}
    after(minutes=61)
    told(tent, "expiring", "expiring", "expired", "deleted")

    after(days=2)
    told(house, "expiring")
    message = next(one for one in inbox.taken if one.event["data"]["resource_id"] == house)
    assert 86_000 < message.event["data"]["remaining_seconds"] <= 86_400
    after(days=2, hours=23)
    told(house, "expiring", "expiring")
    ada.finds(house, "to end soon", lambda one: one["state"] == "expiring")
    assert ending() == {house: "expiring"}
    after(days=2, hours=23, minutes=59)
    ada.does("extend", house, "--for", "3d", "--wait")
    after(days=3, hours=1)
    place.settle()
    assert ada.resource(house)["state"] == "provisioned"
    assert ending() == {}
    after(days=5)
    told(house, *["expiring"] * 3)
    after(days=6)
    told(house, *["expiring"] * 3, "expired", "deleted")


def drifted(person: Person) -> int:
    return len(person.reads("drift"))


def test_what_was_made_together_is_not_looked_at_together(place: Town, clock: Clock, tmp_path: Path) -> None:
    place.apply(tmp_path, PAGES)
    ada = place.admin
    made = [ada.client.submit(PAGE | {"name": f"p{number}"})["id"] for number in range(COUNT)]
    for one in made:
        ada.sees(one, "succeeded")
    made_at = max(
        datetime.fromisoformat(one["created_at"]) for one in ada.client.every("/v1/resources", offering="page")
    )
    infra = Repository(place.child.data / "repositories" / "infra.git", tmp_path / "clone")
    infra.push({f"pages/p{number}/page.yaml": None for number in range(COUNT)}, "who needs these?")

    clock.set(made_at + timedelta(minutes=53))
    place.settle()
    assert drifted(ada) == 0
    clock.set(made_at + timedelta(minutes=60, seconds=1))
    before, found = 0, eventually(lambda: drifted(ada), "the first to be looked at", lambda: None)
    while found > before:
        place.settle()
        place.settle()
        before, found = found, drifted(ada)
    assert found < COUNT
    clock.set(made_at + timedelta(minutes=67))
    eventually(lambda: drifted(ada) == COUNT, "all to be looked at", lambda: drifted(ada))
