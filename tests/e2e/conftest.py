"""A platform for each file of journeys."""

from collections.abc import Iterator, Mapping

import pytest
from entresol.demo.child import running

from tests.e2e.people import Town, town

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
def place(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]) -> Iterator[Town]:
    """A bare platform with one offering, `thing`, that does nothing."""
    data = tmp_path_factory.mktemp("platform") / "data"
    with running(data, "--bare", environment=environment) as child:
        for found in town(child):
            found.apply(data, THING)
            yield found
    assert child.process.returncode == 0, (data / "up.log").read_text()
