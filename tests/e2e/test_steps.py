"""How the steps of a run go: side by side, again, too late, undone, waiting for a person, over a crash."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from entresol.demo.child import running, start

from tests.e2e.people import Person, Town, eventually, town
from tests.e2e.world import DESTINATIONS, Api, Repository, install

PROGRAMS = {
    # Goes on only when the other one is there, too: it can't end if they run one after the other.
    "meet": """\
        #!/bin/sh
        touch "$PLACE/$1"
        n=0
        while [ ! -e "$PLACE/$2" ]; do
            n=$((n + 1))
            [ $n -gt 1000 ] && echo "$2 never came" >&2 && exit 1
            sleep 0.02
        done
        echo "{\\"met\\": \\"$2\\"}" > "$ENTRESOL_OUTPUT/outputs.json"
        """,
    "flaky": """\
        #!/bin/sh
        echo again >> "$PLACE/flaky"
        [ "$(wc -l < "$PLACE/flaky")" -lt 3 ] && echo "the forge has a cold" >&2 && exit 75
        exit 0
        """,
    "count": """\
        #!/bin/sh
        echo "{\\"count\\": \\"$1\\"}" > "$ENTRESOL_OUTPUT/outputs.json"
        """,
    "break": """\
        #!/bin/sh
        [ "$ENTRESOL_ACTION" = destroy ] && exit 0
        echo "the disk is full" >&2
        exit 1
        """,
    "review": """\
        #!/usr/bin/env python3
        import json, os
        order = json.load(open(os.environ["ENTRESOL_INPUT"]))
        if order["action"] == "destroy":
            pass
        elif order["answer"] is None:
            document = {"suspend": "somebody has to count the rows", "resumable": True}
            json.dump(document, open(os.environ["ENTRESOL_STATUS"], "w"))
        else:
            json.dump(order["answer"], open(os.path.join(os.environ["ENTRESOL_OUTPUT"], "outputs.json"), "w"))
        """,
    # Says that it has begun, waits for the file `go`, and has its effect then.
    "slow": """\
        #!/bin/sh
        touch "$PLACE/begun-$1"
        while [ ! -e "$PLACE/go" ]; do sleep 0.02; done
        echo "$1" >> "$PLACE/ledger"
        """,
    "quick": """\
        #!/bin/sh
        echo "$1" >> "$PLACE/ledger"
        """,
}

MANIFESTS = (
    DESTINATIONS
    + """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: pair, version: 1.0.0}
spec:
  inputs: {type: object, properties: {big: {type: boolean}}}
  actions:
    create:
      steps:
        - name: left
          driver: exec
          with: {program: meet, arguments: [left, right], env: {PLACE: "%(place)s"}, observes: false}
          outputs: {met: {type: string}}
        - name: right
          driver: exec
          with: {program: meet, arguments: [right, left], env: {PLACE: "%(place)s"}, observes: false}
          outputs: {met: {type: string}}
        - name: both
          needs: [left, right]
          driver: noop
          with: {outputs: {all: "${steps.left.outputs.met} and ${steps.right.outputs.met}"}}
        - name: more
          needs: [both]
          when: inputs.big
          driver: noop
          with: {fail: it was not to be done}
  outputs: {all: "${steps.both.outputs.all}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: flaky, version: 1.0.0}
spec:
  actions:
    create:
      steps:
        - name: try
          driver: exec
          retries: 5
          backoff: 50ms
          with: {program: flaky, env: {PLACE: "%(place)s"}, observes: false}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: endless, version: 1.0.0}
spec:
  actions:
    create: {steps: [{name: wait, driver: noop, retries: 0, timeout: 500ms, with: {seconds: 3600}}]}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: counted, version: 1.0.0}
spec:
  inputs: {type: object, properties: {count: {type: string}}}
  actions:
    create:
      steps:
        - name: count
          driver: exec
          outputs: {count: {type: string, pattern: "^[0-9]+$"}}
          with: {program: count, arguments: ["${inputs.count}"], observes: false}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: fragile, version: 1.0.0}
spec:
  actions:
    create:
      onFailure: compensate
      steps:
        - name: page
          driver: gitops
          with: {destination: infra, path: "fragile/${resource.name}", files: {page.md: "# soon"}}
        - name: account
          needs: [page]
          driver: http
          with: &account
            destination: forge
            apply: {path: /things, body: {name: "${resource.name}"}}
            read: {path: [things, "${resource.name}"]}
            destroy: {path: [things, "${resource.name}"]}
        - name: notice
          needs: [account]
          driver: exec
          with: {program: quick, arguments: [announced], env: {PLACE: "%(place)s"}, observes: false}
          compensate: {with: {program: quick, arguments: [recalled], env: {PLACE: "%(place)s"}, observes: false}}
        - name: disk
          needs: [notice]
          driver: exec
          with: {program: break, observes: false}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: reviewed, version: 1.0.0}
spec:
  actions:
    create:
      onFailure: compensate
      steps:
        - name: page
          driver: gitops
          with: {destination: infra, path: "reviewed/${resource.name}", files: {page.md: "# draft"}}
        - name: review
          needs: [page]
          driver: exec
          with: {program: review, observes: false}
          outputs: {rows: {type: integer}}
  outputs: {rows: "${steps.review.outputs.rows}"}
"""
)

LINE = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: line, version: 1.0.0}
spec:
  actions:
    create:
      steps:
        - name: first
          driver: exec
          with: {program: quick, arguments: [first], env: {PLACE: "%(place)s"}, observes: false}
        - name: second
          needs: [first]
          driver: exec
          with: {program: slow, arguments: [second], env: {PLACE: "%(place)s"}, observes: false}
        - name: third
          needs: [second]
          driver: exec
          with: {program: quick, arguments: [third], env: {PLACE: "%(place)s"}, observes: false}
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs lie, and where they leave their traces."""
    made = tmp_path_factory.mktemp("ground")
    install(made / "programs", {name: textwrap.dedent(text) for name, text in PROGRAMS.items()})
    (made / "traces").mkdir()
    return made


@pytest.fixture(scope="module")
def environment(ground: Path) -> Mapping[str, str]:
    return {
        "ENTRESOL_PROVISIONING_PROGRAMS_ROOT": str(ground / "programs"),
        "ENTRESOL_PROVISIONING_HTTP_ALLOW_LOOPBACK": "true",
    }


@pytest.fixture(scope="module")
def ada(place: Town, ground: Path, forge: Api) -> Person:
    """A developer where all of the offerings are."""
    place.apply(ground, MANIFESTS % {"api": forge.url, "place": ground / "traces"})
    return place.person("ada")


def states(person: Person, request_id: str) -> dict[str, str]:
    return {one["name"]: one["state"] for one in person.request(request_id)["steps"]}


def progress(person: Person, request_id: str) -> list[tuple[str, str, int]]:
    return [(one["step"], one["state"], one["attempt"]) for one in person.told(request_id, "run.progressed")]


def test_steps_run_side_by_side_in_the_order_that_they_need(ada: Person) -> None:
    asked = ada.asks("two", "-i", "big=false", offering="pair")
    ada.sees(asked, "succeeded")
    assert states(ada, asked) == {"left": "succeeded", "right": "succeeded", "both": "succeeded", "more": "skipped"}
    done = [step for step, _, _ in progress(ada, asked)]
    assert (set(done[:2]), done[2:]) == ({"left", "right"}, ["both", "more"])
    assert ada.resource("shop/dev/pair/two")["outputs"] == {"all": "right and left"}
    assert "not needed: inputs.big" in ada.does("status", asked)


def test_a_step_that_fails_for_a_passing_reason_is_tried_again(ada: Person) -> None:
    asked = ada.asks("cold", offering="flaky")
    ada.sees(asked, "succeeded")
    assert progress(ada, asked) == [("try", "retrying", 1), ("try", "retrying", 2), ("try", "succeeded", 3)]
    first = ada.told(asked, "run.progressed")[0]
    assert first["message"] == "the program flaky failed with exit code 75: the forge has a cold"


def test_a_step_that_takes_too_long_fails(ada: Person) -> None:
    failed = ada.sees(ada.asks("ever", offering="endless"), "failed")
    assert "step wait: not done within 0.5 s" in failed["because"][0]


def test_outputs_are_what_their_offering_declares(ada: Person) -> None:
    ada.sees(ada.asks("twelve", "-i", 'count:="12"', offering="counted"), "succeeded")
    failed = ada.sees(ada.asks("many", "-i", "count=many", offering="counted"), "failed")
    assert "its output /count is not what its offering declares: pattern" in failed["because"][0]


def test_an_output_that_nobody_declares_is_refused_when_its_offering_is_applied(place: Town, tmp_path: Path) -> None:
    file = tmp_path / "offering.yaml"
    counted = next(one for one in MANIFESTS.split("---\n") if "name: counted" in one)
    file.write_text(counted.replace("1.0.0", "1.0.1") + '  outputs: {number: "${steps.count.outputs.coutn}"}\n')
    said = place.admin.fails("apply", str(file))
    assert "coutn" in said
    assert "count" in said


def test_what_was_done_is_undone_in_reverse_when_a_step_fails(
    ada: Person, forge: Api, repository: Repository, ground: Path
) -> None:
    asked = ada.asks("vase", offering="fragile")
    failed = ada.sees(asked, "failed")
    undone = [one["step"] for one in ada.told(asked, "compensation.succeeded")]
    assert undone == ["disk", "notice", "account", "page"]
    assert set(failed["compensated"]) == set(undone)
    assert not failed["left"]
    assert forge.calls("vase") == ["POST /things/vase", "DELETE /things/vase"]
    assert forge.things == {}
    assert "fragile/vase/page.md" not in repository.paths()
    assert repository.commits().count("create shop/dev/fragile/vase") == 2
    assert (ground / "traces" / "ledger").read_text().split() == ["announced", "recalled"]
    assert not ada.resource("shop/dev/fragile/vase")
    shown = ada.does("status", asked)
    assert "the disk is full" in shown
    assert "undone:" in shown


def test_a_step_waits_until_a_person_has_answered(ada: Person) -> None:
    asked = ada.asks("rows", offering="reviewed")

    def waits() -> list[dict[str, object]] | None:
        found: list[dict[str, object]] = ada.request(asked).get("suspended") or []
        return found or None

    (wait,) = eventually(waits, "a step to wait", lambda: ada.request(asked))
    assert (wait["step"], wait["reason"], wait["resumable"]) == ("review", "somebody has to count the rows", True)
    assert "somebody has to count the rows" in ada.does("status", asked)
    ada.fails("resume", asked, "--step", "page")
    ada.does("resume", asked, "--step", "review", "--answer", "rows=12", "--reason", "counted", "--wait")
    assert ada.resource("shop/dev/reviewed/rows")["outputs"] == {"rows": 12}
    facts = ada.facts(asked)
    assert facts.index("run.suspended") < facts.index("resume.requested") < facts.index("run.succeeded")


def test_what_waits_can_be_cancelled_and_is_undone(ada: Person, repository: Repository) -> None:
    asked = ada.asks("never", offering="reviewed")
    eventually(lambda: ada.request(asked).get("suspended"), "a step to wait", lambda: ada.request(asked))
    assert "reviewed/never/page.md" in repository.paths()
    ada.does("cancel", asked, "--reason", "nobody has time to count", "--wait")
    cancelled = ada.sees(asked, "cancelled")
    assert "page" in cancelled["compensated"]
    assert "reviewed/never/page.md" not in repository.paths()


def test_a_run_goes_on_after_a_crash_where_it_stood(
    ground: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    data, traces = tmp_path / "data", tmp_path / "traces"
    traces.mkdir()
    child = start(data, "--bare", environment=environment)
    with child.process:
        for found in town(child):
            file = tmp_path / "line.yaml"
            file.write_text(LINE % {"place": traces})
            found.admin.does("apply", str(file))
            asked = found.admin.asks("long", offering="line")
            eventually((traces / "begun-second").exists, "the second step to begin", lambda: list(traces.iterdir()))
        child.process.kill()
    (traces / "go").touch()
    eventually(lambda: "second" in (traces / "ledger").read_text(), "what was begun to end", lambda: None)
    with running(data, "--bare", environment=environment) as again:
        for found in town(again):
            found.admin.sees(asked, "succeeded")
            assert (traces / "ledger").read_text().split() == ["first", "second", "third"]
            assert progress(found.admin, asked) == [(name, "succeeded", 1) for name in ("first", "second", "third")]
            assert found.admin.facts(asked).count("run.started") == 1
