"""The later life of things against a whole platform: waits, what is undone, pauses, rollbacks, stages, needs."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from entresol.commandline import build
from entresol.demo.child import Child, running
from typer.testing import CliRunner, Result

Document = dict[str, Any]
Run = Callable[..., Result]

THING = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: thing, version: @version@}
spec:
  inputs:
    type: object
    additionalProperties: false
    properties:
      size: {type: integer, default: 1}
      ask: {type: string, default: ""}
      fail: {type: string, default: ""}
  implementations:
    - name: careful
      match: {environment: [prod]}
      actions: {create: {steps: [{name: make, driver: noop, with: {outputs: {size: 0}}}]}}
  actions:
    create:
      onFailure: compensate
      steps:
        - {name: make, driver: noop, with: {outputs: {size: "${inputs.size}"}}}
        - {name: look, needs: [make], driver: noop, timeout: 1h, with: {suspend: "${inputs.ask}"}}
        - {name: finish, needs: [look], driver: noop, with: {fail: "${inputs.fail}"}}
  outputs: {size: "${steps.make.outputs.size}"}
"""
NEEDY = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: needy, version: 1.0.0}
spec:
  inputs: {type: object, additionalProperties: false, properties: {}}
  requires:
    - {name: part, offering: thing, inputs: {size: 4}}
  actions:
    create: {steps: [{name: make, driver: noop, with: {outputs: {size: "${requires.part.outputs.size}"}}}]}
  outputs: {size: "${steps.make.outputs.size}"}
"""


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    data = tmp_path_factory.mktemp("platform") / "data"
    with running(data, "--bare") as platform:
        (data / "thing.yaml").write_text(THING.replace("@version@", "1.0.0"))
        (data / "needy.yaml").write_text(NEEDY)
        (data / "newer.yaml").write_text(THING.replace("@version@", "1.1.0"))
        assert command(platform, "apply", str(data / "thing.yaml"), str(data / "needy.yaml")).exit_code == 0
        yield platform
    assert platform.process.returncode == 0, (data / "up.log").read_text()


def command(platform: Child, *arguments: str) -> Result:
    environment = {"ENTRESOL_SERVER": platform.url, "ENTRESOL_TOKEN": platform.token, "COLUMNS": "200"}
    return CliRunner().invoke(build(), list(arguments), env=environment)


@pytest.fixture
def run(child: Child) -> Run:
    return lambda *arguments: command(child, *arguments)


def ask(name: str, *more: str, offering: str = "thing") -> tuple[str, ...]:
    return ("request", offering, name, "-p", "shop", "-e", "dev", "--wait", "--timeout", "20", *more)


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_suspended_step_is_shown_and_told_to_go_on(run: Run) -> None:
    result = run(*ask("asking", "-i", "ask=look at the data", "--timeout", "1"))
    assert result.exit_code == 6, result.output
    assert "step look waits: look at the data" in result.stderr
    overview = json.loads(run("status", "-o", "json").stdout)
    (waiting,) = [one for one in overview["suspended"] if one["name"] == "asking"]
    hint = f"entresol resume {waiting['id'][:18]} --step look"
    assert hint in run("status").stdout
    assert hint in run("status", waiting["id"]).stdout
    done(run("cancel", waiting["id"], "--wait", "--timeout", "20"))


def test_what_a_failure_has_undone_is_told(run: Run) -> None:
    result = run(*ask("failing", "-i", "fail=no route"))
    assert result.exit_code == 1
    assert "compensation.succeeded  step make is undone" in result.stdout
    assert "step finish: no route" in result.stdout
    assert "undone: " in result.stdout.rpartition("✗ failed")[2]
