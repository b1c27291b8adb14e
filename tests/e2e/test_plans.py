"""What is approved is what is applied: plans before decisions, with a real repository and a real terraform."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.people import Town, eventually
from tests.e2e.world import Repository

MANIFESTS = """\
apiVersion: entresol.dev/v1
kind: Destination
metadata: {name: infra}
spec: {repository: infra.git, create: true}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: page, version: 1.0.0}
spec:
  inputs: {type: object, properties: {title: {type: string}}}
  cost: "size(inputs.title) * 10"
  actions:
    create: &write
      steps:
        - name: write
          driver: gitops
          with: {destination: infra, path: "pages/${resource.name}", files: {page.md: "# {{ inputs.title }}"}}
    update: *write
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: see-the-plan}
spec:
  when: request.project == "planned" && actor.id != "system:expiry"
  plan: true
  rules:
    - approve: {from: ["group:sre"]}
    - deny: has(plan.cost) && plan.cost > 300.0
      because: too dear
"""

TERRAFORM = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: machine, version: 1.0.0}
spec:
  inputs: {type: object, properties: {size: {type: string}}}
  actions:
    create: &apply
      steps:
        - name: machine
          driver: terraform
          with:
            files:
              main.tf: |
                variable "size" { type = string }
                resource "terraform_data" "machine" { input = var.size }
            variables: {size: "${inputs.size}"}
    update: *apply
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: careful-with-machines}
spec:
  when: request.offering == "machine"
  rules:
    - approve: {from: ["group:sre"]}
      when: plan.changes > 0 || plan.destroys > 0
      because: a machine would change
"""


@pytest.fixture(scope="module")
def planned(place: Town, tmp_path_factory: pytest.TempPathFactory) -> Town:
    place.apply(tmp_path_factory.mktemp("manifests"), MANIFESTS)
    return place


def ask(place: Town, name: str, title: str, *more: str) -> str:
    given = ("-i", f"title={title}", *more)
    return place.person("ada").asks(name, *given, project="planned", offering="page")


def asked_about(place: Town, request: str, after: str = "") -> dict[str, Any]:
    """The approval that is open and about another plan than `after`."""

    def look() -> dict[str, Any] | None:
        open_ = [one for one in place.admin.request(request)["approvals"] if one["state"] == "pending"]
        return next((one for one in open_ if one["plan"]["digest"] != after), None)

    found: dict[str, Any] = eventually(look, "a question about a plan", lambda: place.admin.request(request))
    return found


def test_a_plan_is_shown_approved_and_applied_as_it_is(planned: Town, repository: Repository) -> None:
    bob = planned.person("bob", "sre")
    request = ask(planned, "home", "Welcome")
    approval = asked_about(planned, request)
    assert (approval["plan"]["adds"], approval["plan"]["changes"], approval["plan"]["cost"]) == (1, 0, 70)
    assert "page.md" in planned.person("ada").does("status", request)
    bob.does("approve", approval["id"])
    ended = planned.person("ada").sees(request, "succeeded")
    assert ended["decision"]["plan_digest"] == approval["plan"]["digest"]
    assert repository.commits()[0] == "create planned/dev/page/home"
    facts = planned.person("ada").facts(request)
    assert facts.index("plan.requested") < facts.index("run.planned") < facts.index("approval.requested")
    assert facts.index("request.allowed") < facts.index("run.started")
    started = next(one for one in bob.client.chain(request) if one["type"] == "dev.entresol.run.started.v1")
    assert started["data"]["plan_digest"] == approval["plan"]["digest"]


def test_a_plan_that_others_have_made_stale_is_made_and_asked_about_again(
    planned: Town, repository: Repository
) -> None:
    ada, bob = planned.person("ada"), planned.person("bob", "sre")
    first = ask(planned, "news", "One")
    bob.does("approve", asked_about(planned, first)["id"])
    ada.sees(first, "succeeded")
    second = ask(planned, "news", "Two", "--action", "update")
    stale = asked_about(planned, second)
    repository.push({"pages/news/page.md": "# eve was here"}, "by hand")
    bob.does("approve", stale["id"])
    fresh = asked_about(planned, second, after=stale["plan"]["digest"])
    assert repository.commits()[0] == "by hand", "nothing was applied that nobody has seen"
    assert "succeeded" not in ada.request(second)["state"]
    bob.does("approve", fresh["id"])
    ended = ada.sees(second, "succeeded")
    assert ended["decision"]["plan_digest"] == fresh["plan"]["digest"]
    assert repository.commits()[0] == "update planned/dev/page/news"
    assert [one["state"] for one in ended["approvals"]] == ["granted", "granted"]


def test_what_others_do_elsewhere_makes_no_plan_stale(planned: Town, repository: Repository) -> None:
    ada, bob = planned.person("ada"), planned.person("bob", "sre")
    request = ask(planned, "calm", "Calm")
    approval = asked_about(planned, request)
    repository.push({"elsewhere.md": "nobody minds"})
    bob.does("approve", approval["id"])
    ada.sees(request, "succeeded")
    assert len(ada.request(request)["approvals"]) == 1


def test_a_plan_that_costs_too_much_is_denied(planned: Town) -> None:
    denied = planned.admin.sees(ask(planned, "long", "x" * 40), "denied")
    assert denied["because"] == ["too dear"]
    assert denied["decision"]["plan_digest"]


def test_a_dry_run_shows_what_the_plan_would_meet_and_changes_nothing(planned: Town, repository: Repository) -> None:
    bob = planned.person("bob", "sre")
    before = repository.commits()
    request = ask(planned, "dry", "Dry", "--dry-run")
    bob.does("approve", asked_about(planned, request)["id"])
    ended = planned.person("ada").sees(request, "succeeded")
    assert ended["plan"]["adds"] == 1
    assert repository.commits() == before


def test_a_request_that_waits_with_its_plan_can_be_cancelled(planned: Town) -> None:
    request = ask(planned, "never", "Never")
    asked_about(planned, request)
    planned.person("ada").does("cancel", request, "--wait")
    assert planned.admin.request(request)["state"] == "cancelled"


@pytest.mark.skipif(shutil.which("terraform") is None and shutil.which("tofu") is None, reason="no terraform or tofu")
def test_terraform_asks_only_when_something_changes_and_again_when_its_state_has_moved(
    place: Town, tmp_path: Path
) -> None:
    place.apply(tmp_path, TERRAFORM)
    ada, bob = place.person("ada"), place.person("bob", "sre")

    def ask_for(size: str, action: str = "update") -> str:
        return ada.asks("m", "--action", action, "-i", f"size={size}", project="machines", offering="machine")

    ada.sees(ask_for("s", "create"), "succeeded")
    medium = ask_for("m")
    stale = asked_about(place, medium)
    assert stale["plan"]["changes"] == 1
    assert "terraform_data.machine" in json.dumps(ada.request(medium)["plan"])
    large = ask_for("l")
    bob.does("approve", asked_about(place, large)["id"])
    ada.sees(large, "succeeded")
    bob.does("approve", stale["id"])
    fresh = asked_about(place, medium, after=stale["plan"]["digest"])
    bob.does("approve", fresh["id"])
    ada.sees(medium, "succeeded")
