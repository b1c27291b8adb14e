"""The later life of things against a whole platform: waits, what is undone, pauses, rollbacks, stages, needs."""

import json
from pathlib import Path

import pytest
from typer.testing import Result

from tests.e2e.people import Run, eventually

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
def manifests() -> str:
    return f"{THING.replace('@version@', '1.0.0')}---\n{NEEDY}"


def ask(name: str, *more: str, offering: str = "thing") -> tuple[str, ...]:
    return ("request", offering, name, "-p", "shop", "-e", "dev", "--wait", "--timeout", "20", *more)


def waits(run: Run, name: str) -> str | None:
    """What is told of a request that asks, once a step of it waits."""
    result = run(*ask(name, "-i", "ask=look at the data", "--timeout", "1", "--idempotency-key", name))
    assert result.exit_code == 6, result.output
    return result.stderr if "step look waits" in result.stderr else None


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_suspended_step_is_shown_and_told_to_go_on(run: Run) -> None:
    told = eventually(lambda: waits(run, "asking"))
    assert "step look waits: look at the data" in told
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


def test_a_resumed_step_goes_on_with_what_it_was_told(run: Run) -> None:
    eventually(lambda: waits(run, "resumed"))
    told = done(run("resume", "shop/dev/thing/resumed", "--answer", "rows=12", "--wait", "--timeout", "20"))
    assert "resume.requested" in told
    assert "✓ succeeded" in told


def test_nothing_is_done_to_what_is_paused(run: Run) -> None:
    done(run(*ask("still")))
    done(run("pause", "thing/still", "--for", "2h", "--reason", "by hand", "--wait", "--timeout", "20"))
    assert "by hand" in run("status").stdout
    assert "by user:admin until" in run("status", "thing/still").stdout
    refused = run(*ask("still", "--action", "update", "-i", "size=2"))
    assert refused.exit_code == 1
    assert "is paused by user:admin" in refused.stdout
    done(run("unpause", "thing/still", "--wait", "--timeout", "20"))
    done(run(*ask("still", "--action", "update", "-i", "size=2")))


def test_a_resource_goes_back_to_what_it_was(run: Run) -> None:
    assert "no revisions" not in done(run(*ask("steps")))
    assert "there is none before" in run("rollback", "thing/steps").stderr
    done(run(*ask("steps", "--action", "update", "-i", "size=5")))
    told = done(run("rollback", "thing/steps", "--wait", "--timeout", "20"))
    assert [line.split() for line in told.splitlines() if "inputs.size" in line] == [["inputs.size", "5", "1"]]
    document = json.loads(run("status", "shop/dev/thing/steps", "-o", "json").stdout)
    assert document["outputs"] == {"size": 1}
    assert [one["action"] for one in document["revisions"]] == ["rollback", "update", "create"]
    done(run("reconcile", "thing/steps", "--wait", "--timeout", "20"))
    assert "nobody looks by itself" in done(run("drift", "thing/steps"))


def test_what_is_needed_is_made_and_shown(run: Run) -> None:
    told = done(run(*ask("whole", offering="needy")))
    assert "needs part: create shop/dev/thing/whole-part" in told
    assert "part  shop/dev/thing/whole-part  provisioned" in run("status", "needy/whole").stdout
    assert "part  shop/dev/thing/whole-part  succeeded" in run("status", latest(run, "whole")).stdout
    assert "shop/dev/needy/whole" in run("status", "thing/whole-part").stdout
    assert run("delete", "thing/whole-part", "--wait", "--timeout", "20").exit_code == 1
    done(run("delete", "needy/whole", "--wait", "--timeout", "20"))
    assert "deleted" in run("status", "shop/dev/thing/whole-part").stdout


def test_versions_are_proposed_promoted_and_weighed(run: Run, tmp_path: Path) -> None:
    done(run(*ask("early")))
    (tmp_path / "newer.yaml").write_text(THING.replace("@version@", "1.1.0"))
    done(run("apply", str(tmp_path / "newer.yaml"), "--proposed"))
    eventually(lambda: stages(run) == {"1.0.0": "default", "1.1.0": "proposed"})
    explained = ("offering", "explain", "thing", "-p", "shop", "-e")
    assert "1.0.0: it is the default" in run(*explained, "dev").stdout
    assert "✓  careful" in run(*explained, "prod", "--version", "1.1.0").stdout
    done(run("offering", "promote", "thing", "1.1.0", "--reason", "tried"))
    done(run("offering", "defect", "thing@1.0.0", "--reason", "it loses things"))
    eventually(lambda: stages(run) == {"1.0.0": "defective", "1.1.0": "default"})
    weighed = done(run("offering", "impact", "thing", "--version", "1.0.0"))
    assert "thing@1.0.0, defective: nothing is made with it" in weighed
    assert "early" in weighed
    assert "defective: nothing is made with it" in run("status", "shop/dev/thing/early").stdout
    refused = run(*ask("late", "--version", "1.0.0"))
    assert refused.exit_code == 2
    assert "--version" in refused.stderr
    done(run(*ask("early", "--action", "update", "--version", "1.1.0")))


def test_something_is_adopted_and_deleted_without_looking_back(run: Run) -> None:
    told = ("adopt", "thing", "found", "-p", "shop", "-e", "dev", "--wait", "--timeout", "20")
    done(run(*told, "--dry-run"))
    assert "nothing differs" in done(run(*told))
    done(run("delete", "thing/found", "--orphan", "--wait", "--timeout", "20"))
    assert "deleted" in run("status", "shop/dev/thing/found").stdout


def latest(run: Run, name: str) -> str:
    found = json.loads(run("status", "-o", "json").stdout)["latest"]
    return next(str(one["id"]) for one in found if one["name"] == name)


def stages(run: Run) -> dict[str, str]:
    listed = json.loads(run("offering", "list", "-o", "json").stdout)
    return {one["version"]: one["stage"] for one in listed if one["name"] == "thing"}
