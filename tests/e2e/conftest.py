"""A platform for each file of journeys."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from entresol.demo.child import running

from tests.e2e.people import Run, Town, town
from tests.e2e.world import Api, Repository, api

THING = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: thing, version: 1.0.0}
spec:
  inputs:
    type: object
    additionalProperties: false
    properties: {size: {type: integer}, text: {type: string}, numbers: {type: array}}
  actions:
    create: {steps: [{name: make, driver: noop, with: {outputs: {}}}]}
    update: {steps: [{name: make, driver: noop, with: {outputs: {}}}]}
"""


@pytest.fixture(scope="module")
def environment() -> Mapping[str, str]:
    """Settings of the platform; a file of journeys may have its own."""
    return {}


@pytest.fixture(scope="module")
def manifests() -> str:
    """What is applied at the beginning; a file of journeys may have its own, with an offering `thing` in it."""
    return THING


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str], manifests: str) -> Iterator[Town]:
    """A bare platform."""
    data = tmp_path_factory.mktemp("platform") / "data"
    with running(data, "--bare", environment=environment) as child:
        for found in town(child):
            found.apply(data, manifests)
            yield found
    assert child.process.returncode == 0, (data / "up.log").read_text()


@pytest.fixture(scope="module")
def forge() -> Iterator[Api]:
    """The API of the destination `forge`."""
    with api() as made:
        yield made


@pytest.fixture(scope="module")
def run(place: Town) -> Run:
    """Commands of the administrator."""
    return place.admin.runs


@pytest.fixture
def repository(place: Town, tmp_path: Path) -> Repository:
    """The repository of the destination `infra`, and a clone of it."""
    return Repository(place.child.data / "repositories" / "infra.git", tmp_path / "clone")
