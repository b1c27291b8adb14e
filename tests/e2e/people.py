"""People at the doors of a platform, each with a token of their own, using the command as anybody would."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from entresol.commandline import build
from entresol.demo.child import Child
from entresol.doors.client import Client
from entresol.doors.paths import resource_path
from entresol.failures import Refused
from typer.testing import CliRunner, Result

T = TypeVar("T")
Document = dict[str, Any]
Run = Callable[..., Result]
WAIT_SECONDS = 30.0


@dataclass
class Person:
    """Somebody with a token."""

    name: str
    url: str
    token: str
    client: Client

    def runs(self, *arguments: str) -> Result:
        """A command of theirs, with its output."""
        environment = {"ENTRESOL_SERVER": self.url, "ENTRESOL_TOKEN": self.token, "COLUMNS": "200"}
        return CliRunner().invoke(build(), list(arguments), env=environment)

    def does(self, *arguments: str) -> str:
        """A command of theirs that succeeds; its standard output."""
        result = self.runs(*arguments)
        assert result.exit_code == 0, f"{self.name}: entresol {' '.join(arguments):.300}: {result.output:.2000}"
        return result.stdout

    def fails(self, *arguments: str) -> str:
        """A command of theirs that does not succeed; what it says."""
        result = self.runs(*arguments)
        assert result.exit_code != 0, f"{self.name}: entresol {' '.join(arguments):.300}: {result.output:.2000}"
        return result.output

    def reads(self, *arguments: str) -> Any:
        """A command of theirs that succeeds, as JSON."""
        return json.loads(self.does(*arguments, "-o", "json"))

    def asks(
        self, name: str, *more: str, environment: str = "dev", project: str = "shop", offering: str = "thing"
    ) -> str:
        """A request of theirs; its id."""
        asked = self.reads("request", offering, name, "-p", project, "-e", environment, *more)
        return str(asked["id"])

    def sees(self, request_id: str, *states: str) -> Document:
        """The request once it is in one of the states."""

        def look() -> Document | None:
            item = self.request(request_id)
            return item if item["state"] in states else None

        return eventually(look, f"{request_id} to be {' or '.join(states)}", lambda: self.request(request_id))

    def request(self, request_id: str) -> Document:
        """The request as the catalog shows it."""
        return self.client.request(request_id)

    def resource(self, resource_id: str) -> Document:
        """The resource as the catalog shows it; empty as long as it has not heard of it."""
        try:
            found: Document = self.client.read(resource_path(resource_id))
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return {}
        return found

    def finds(self, resource_id: str, what: str, holds: Callable[[Document], Any]) -> Document:
        """The resource once that holds of it."""

        def look() -> Document | None:
            item = self.resource(resource_id)
            return item if item and holds(item) else None

        found: Document = eventually(look, f"{resource_id} {what}", lambda: self.resource(resource_id))
        return found

    def requests(self, resource_id: str) -> list[Document]:
        """What was asked of the resource, the newest first."""
        return list(self.client.every("/v1/requests", resource=resource_id))

    def told(self, request_id: str, fact: str) -> list[Document]:
        """What the events of that kind in the request's chain say."""
        kind = f"dev.entresol.{fact}.v1"
        return [one["data"] for one in self.client.chain(request_id) if one["type"] == kind]

    def open_approval(self, request_id: str, **wanted: Any) -> Document:
        """The approval that is open for the request and has these fields."""

        def look() -> Document | None:
            approvals: list[Document] = self.request(request_id)["approvals"]
            fitting = [one for one in approvals if one["state"] == "pending"]
            fitting = [one for one in fitting if all(one.get(name) == value for name, value in wanted.items())]
            return fitting[-1] if fitting else None

        return eventually(look, f"an open approval of {request_id}", lambda: self.request(request_id))

    def facts(self, request_id: str) -> list[str]:
        """What has happened in the request's chain, without the types' prefix and version."""
        return [one["type"].removeprefix("dev.entresol.").rpartition(".")[0] for one in self.client.chain(request_id)]


@dataclass
class Town:
    """A platform and the people who use it."""

    child: Child
    people: dict[str, Person] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def admin(self) -> Person:
        if "admin" not in self.people:
            self.people["admin"] = self._person("admin", self.child.token)
        return self.people["admin"]

    def person(self, name: str, *groups: str, role: str = "developer", projects: tuple[str, ...] = ("*",)) -> Person:
        """user:<name> in these groups."""
        if name not in self.people:
            options = [part for group in groups for part in ("--group", group)]
            options += [part for project in projects for part in ("-p", project)]
            issued = self.admin.reads("token", "create", f"user:{name}", "--role", role, *options)
            self.people[name] = self._person(name, issued["token"])
        return self.people[name]

    def _person(self, name: str, token: str) -> Person:
        return Person(name, self.child.url, token, Client(self.child.url, token))

    def apply(self, directory: Path, text: str) -> None:
        """Apply manifests, and wait until everybody has heard of them."""
        file = directory / "manifests.yaml"
        file.write_text(text)
        self.admin.does("apply", str(file))
        self.settle()

    def settle(self) -> None:
        """Wait until every service has read what is on the log now: a request goes through all of them."""
        name = f"n{next(self._numbers)}"
        self.admin.sees(self.admin.asks(name, project="settling"), "succeeded", "denied")


def eventually(
    look: Callable[[], T | None],
    what: str = "something",
    found: Callable[[], object] = lambda: "nothing",
    seconds: float = WAIT_SECONDS,
) -> T:
    """What `look` gives as soon as it gives anything; fail with what was found instead after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := look():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds:g} s for {what}, but found {found()}")


def texts(document: Mapping[str, Any]) -> str:
    return " ".join(map(str, document.get("because") or ()))


def town(child: Child) -> Iterator[Town]:
    made = Town(child)
    try:
        yield made
    finally:
        for person in made.people.values():
            person.client.close()
