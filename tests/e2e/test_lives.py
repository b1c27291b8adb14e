"""A resource's whole life: made, changed, used, paused, taken back, adopted, extended, and gone."""

import json
import os
import re
import secrets
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest

from services.provisioning.tests.kubernetes_api import Api as StandIn
from tests.e2e.people import Document, Person, Town, eventually
from tests.e2e.world import DESTINATIONS, Api, Repository, git, install

PROGRAMS = {
    # Keeps a directory for each resource.
    "box": """\
        #!/bin/sh
        box="$BOXES/$1"
        case "$ENTRESOL_ACTION" in
            apply)
                mkdir -p "$box" && echo "$2" > "$box/label"
                echo "{\\"label\\": \\"$2\\"}" > "$ENTRESOL_OUTPUT/outputs.json"
                echo '{"message": "labelled the box"}' > "$ENTRESOL_STATUS" ;;
            destroy) rm -rf "$box" ;;
            observe)
                exists=false
                [ -e "$box" ] && exists=true
                echo "{\\"exists\\": $exists}" > "$ENTRESOL_OUTPUT/observation.json" ;;
            *) exit 64 ;;
        esac
        """,
}
TEMPLATE = {
    "copier.yml": "team: {type: str}\nsize: {type: str, choices: [small, large], default: small}\n",
    "README.md.jinja": "# {{ team }}\n\nIt is {{ size }}.\n",
    "run.sh": "#!/bin/sh\nexec true\n",
    "{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_nice_yaml -}}\n",
}

MANIFESTS = (
    DESTINATIONS
    + """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: site, version: 1.0.0}
spec:
  inputs: {type: object, required: [title], properties: {title: {type: string}, size: {type: integer, default: 1}}}
  actions:
    create: &site
      steps:
        - name: page
          driver: gitops
          with: {destination: infra, path: "sites/${resource.name}", files: {page.md: "# {{ inputs.title }}"}}
        - name: account
          needs: [page]
          driver: http
          timeout: 3s
          with: &account
            destination: forge
            apply: {path: /things, body: {name: "${resource.name}", size: "${inputs.size}"}}
            update: {method: PUT, path: [things, "${resource.name}"], body: {size: "${inputs.size}"}}
            read: {path: [things, "${resource.name}"]}
            destroy: {path: [things, "${resource.name}"]}
            desired: {size: "${inputs.size}"}
            outputs: {endpoint: response.body.endpoint, token: response.body.token}
    update: *site
    rotate:
      title: Give it another token
      inputs: {type: object}
      steps:
        - name: account
          driver: http
          with:
            destination: forge
            apply: {path: [things, "${resource.name}", rotate]}
            update: {method: POST, path: [things, "${resource.name}", rotate]}
            read: {path: [things, "${resource.name}"]}
            destroy: {path: [things, "${resource.name}"]}
            outputs: {endpoint: response.body.endpoint, token: response.body.token}
  outputs: {endpoint: "${steps.account.outputs.endpoint}", token: "${steps.account.outputs.token}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: page, version: 1.0.0}
spec:
  inputs: {type: object, required: [title], properties: {title: {type: string}}}
  actions:
    create: &page
      steps:
        - name: page
          driver: gitops
          with: {destination: infra, path: "pages/${resource.name}", files: {page.yaml: "title: {{ inputs.title }}\\n"}}
    update: *page
  outputs: {commit: "${steps.page.outputs.commit}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: box, version: 1.0.0}
spec:
  inputs: {type: object, required: [label], properties: {label: {type: string}}}
  actions:
    create: &box
      steps:
        - name: box
          driver: exec
          with: {program: box, arguments: ["${resource.name}", "${inputs.label}"], env: {BOXES: "%(boxes)s"}}
    update: *box
  outputs: {label: "${steps.box.outputs.label}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: service, version: 1.0.0}
spec:
  inputs: {type: object, required: [team], properties: {team: {type: string}, size: {type: string, default: small}}}
  actions:
    create: &service
      steps:
        - name: repository
          driver: scaffold
          with:
            template: service
            repository: "${resource.name}.git"
            answers: {team: "${inputs.team}", size: "${inputs.size}"}
    update: *service
  outputs: {repository: "${steps.repository.outputs.repository}"}
---
apiVersion: entresol.dev/v1
kind: Destination
metadata: {name: cluster}
spec: {cluster: {kubeconfig: "env:CLUSTER"}}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: flags, version: 1.0.0}
spec:
  inputs: {type: object, required: [colour], properties: {colour: {type: string}}}
  actions:
    create: &flags
      steps:
        - name: map
          driver: kubernetes
          with:
            destination: cluster
            objects:
              - apiVersion: v1
                kind: ConfigMap
                metadata: {name: "${resource.name}"}
                data: {colour: "${inputs.colour}"}
            outputs: {colour: {kind: ConfigMap, name: "${resource.name}", pointer: /data/colour}}
    update: *flags
  outputs: {colour: "${steps.map.outputs.colour}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: machine, version: 1.0.0}
spec:
  inputs: {type: object, required: [size], properties: {size: {type: string}}}
  actions:
    create: &machine
      steps:
        - name: machine
          driver: terraform
          with:
            files:
              main.tf: |
                variable "size" { type = string }
                module "machine" {
                  source = "./modules/machine"
                  size   = var.size
                }
                output "size" { value = module.machine.size }
                output "key" {
                  value     = module.machine.key
                  sensitive = true
                }
              modules/machine/main.tf: |
                variable "size" { type = string }
                resource "terraform_data" "machine" { input = var.size }
                output "size" { value = terraform_data.machine.output }
                output "key" { value = "key of ${var.size}" }
            variables: {size: "${inputs.size}"}
    update: *machine
  outputs: {size: "${steps.machine.outputs.size}", key: "${steps.machine.outputs.key}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: stay, version: 1.0.0}
spec:
  lifetime: {default: 1h, max: 2h}
  actions: {create: {steps: [{name: make, driver: noop, with: {outputs: {}}}]}}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: visit, version: 1.0.0}
spec:
  lifetime: {default: 2s, max: 2h}
  actions: {create: {steps: [{name: make, driver: noop, with: {outputs: {}}}]}, update: {steps: []}}
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: somebody-sees-it}
spec:
  when: >-
    request.action == "rollback" || (request.action == "delete" && request.name == "guarded")
  rules:
    - approve: {from: ["group:sre"]}
"""
)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ground")
    install(made / "programs", {name: textwrap.dedent(text) for name, text in PROGRAMS.items()})
    (made / "boxes").mkdir()
    template = made / "templates" / "service"
    template.mkdir(parents=True)
    for name, text in TEMPLATE.items():
        (template / name).write_text(text)
    return made


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Kubeconfig of the cluster of KUBECONFIG, or of a stand-in where there is none."""
    if given := os.environ.get("KUBECONFIG"):
        yield Path(given).read_text()
        return
    with StandIn() as stand_in:
        yield stand_in.kubeconfig()


@pytest.fixture(scope="module")
def environment(ground: Path, cluster: str) -> Mapping[str, str]:
    return {
        "ENTRESOL_PROVISIONING_PROGRAMS_ROOT": str(ground / "programs"),
        "ENTRESOL_PROVISIONING_TEMPLATES_ROOT": str(ground / "templates"),
        "ENTRESOL_PROVISIONING_HTTP_ALLOW_LOOPBACK": "true",
        "ENTRESOL_PROVISIONING_RETRY_SECONDS": "0.1",
        "ENTRESOL_PROVISIONING_KUBERNETES_INSECURE": "true",
        "CLUSTER": cluster,
    }


@pytest.fixture(scope="module")
def ada(place: Town, ground: Path, forge: Api) -> Person:
    """A developer where all of the offerings are."""
    place.apply(ground, MANIFESTS % {"api": forge.url, "boxes": ground / "boxes"})
    place.person("bob", "sre")
    return place.person("ada")


def asked(person: Person, *arguments: str) -> str:
    """A request by a command that is about a resource; its id."""
    return str(person.reads(*arguments)["id"])


def make(person: Person, offering: str, name: str, *inputs: str, action: str = "create") -> Document:
    """The resource once that has been asked for and done."""
    given = [part for one in inputs for part in ("-i", one)]
    person.sees(person.asks(name, "--action", action, *given, offering=offering), "succeeded")
    return person.resource(f"shop/dev/{offering}/{name}")


def test_an_update_does_only_what_has_changed(ada: Person, forge: Api, repository: Repository) -> None:
    made = make(ada, "site", "blog", "title=Blog")
    assert made["outputs"] == {"endpoint": "https://blog.example", "token": 1}
    assert repository.text("sites/blog/page.md") == "# Blog"
    request = ada.asks("blog", "--action", "update", "-i", "size=2", offering="site")
    ada.sees(request, "succeeded")
    said = {one["step"]: one.get("message") for one in ada.told(request, "run.progressed")}
    assert forge.calls("blog") == ["POST /things/blog", "PUT /things/blog"]
    assert said["account"] != "unchanged"
    assert repository.commits().count("update shop/dev/site/blog") == 0
    again = ada.asks("blog", "--action", "update", "-i", "size=2", offering="site")
    ada.sees(again, "succeeded")
    assert [one["message"] for one in ada.told(again, "run.progressed")] == ["unchanged", "unchanged"]
    assert len(forge.calls("blog")) == 2
    assert ada.resource("shop/dev/site/blog")["inputs"] == {"title": "Blog", "size": 2}


def test_an_offering_has_actions_of_its_own(ada: Person, forge: Api) -> None:
    make(ada, "site", "shop", "title=Shop")
    changed = make(ada, "site", "shop", action="rotate")
    assert forge.calls("shop") == ["POST /things/shop", "POST /things/shop/rotate"]
    assert changed["outputs"] == {"endpoint": "https://shop.example", "token": 2}
    assert changed["inputs"] == {"title": "Shop", "size": 1}


def test_a_delete_goes_backwards_and_is_proved(ada: Person, forge: Api, repository: Repository) -> None:
    make(ada, "site", "gone", "title=Gone")
    request = asked(ada, "delete", "shop/dev/site/gone", "--wait")
    assert [one["step"] for one in ada.told(request, "run.progressed")] == ["account", "page"]
    assert "gone" not in forge.things
    assert "sites/gone/page.md" not in repository.paths()
    gone = ada.finds("shop/dev/site/gone", "to be deleted", lambda one: one["state"] == "deleted")
    assert not gone["orphaned"]


def test_what_can_not_be_removed_stays_a_resource_until_it_is_given_up(
    ada: Person, forge: Api, repository: Repository
) -> None:
    make(ada, "site", "glue", "title=Glue")
    forge.clinging.add("glue")
    failed = ada.sees(asked(ada, "delete", "shop/dev/site/glue"), "failed")
    assert "is still there" in failed["because"][0]
    assert failed["left"] == ["page", "account"]
    assert ada.resource("shop/dev/site/glue")["state"] == "provisioned"
    assert "sites/glue/page.md" in repository.paths()
    given_up = asked(ada, "delete", "shop/dev/site/glue", "--orphan", "--wait")
    (orphan,) = ada.told(given_up, "resource.deleted")[0]["orphaned"]
    assert (orphan["step"], orphan["driver"]) == ("account", "http")
    assert "is still there" in orphan["reason"]
    assert "sites/glue/page.md" not in repository.paths()
    assert "left behind" in ada.does("status", "shop/dev/site/glue")


def test_a_page_is_kept_in_a_repository(ada: Person, repository: Repository) -> None:
    made = make(ada, "page", "home", "title=Home")
    assert git("rev-parse", made["outputs"]["commit"], at=repository.place).strip() == made["outputs"]["commit"]
    make(ada, "page", "home", "title=Start", action="update")
    assert repository.text("pages/home/page.yaml") == "title: Start\n"
    ada.does("delete", "shop/dev/page/home", "--wait")
    assert "pages/home/page.yaml" not in repository.paths()


def test_a_program_does_what_no_driver_can(ada: Person, ground: Path) -> None:
    made = make(ada, "box", "left", "label=socks")
    assert made["outputs"] == {"label": "socks"}
    (request,) = ada.requests("shop/dev/box/left")
    assert "labelled the box" in ada.does("status", request["id"])
    assert make(ada, "box", "left", "label=hats", action="update")["outputs"] == {"label": "hats"}
    assert (ground / "boxes" / "left" / "label").read_text() == "hats\n"
    ada.does("delete", "shop/dev/box/left", "--wait")
    assert not (ground / "boxes" / "left").exists()


def test_a_repository_is_made_from_a_template_and_belongs_to_its_developers(
    ada: Person, place: Town, tmp_path: Path
) -> None:
    made = make(ada, "service", "cart", "team=payments")
    repository = Repository(place.child.data / "repositories" / made["outputs"]["repository"], tmp_path / "cart")
    assert repository.text("README.md") == "# payments\n\nIt is small.\n"
    repository.push({"cart.py": "print('cart')\n"}, "begin")
    make(ada, "service", "cart", "size=large", action="update")
    assert repository.text("README.md") == "# payments\n\nIt is large.\n"
    assert repository.text("cart.py") == "print('cart')\n"
    request = asked(ada, "delete", "shop/dev/service/cart", "--wait")
    (kept,) = ada.told(request, "resource.deleted")[0]["orphaned"]
    assert kept["driver"] == "scaffold"
    assert repository.text("cart.py") == "print('cart')\n"


def test_an_object_is_kept_in_a_cluster(ada: Person) -> None:
    name = f"flags-{secrets.token_hex(4)}"
    assert make(ada, "flags", name, "colour=red")["outputs"]["colour"] == "red"
    assert make(ada, "flags", name, "colour=blue", action="update")["outputs"]["colour"] == "blue"
    request = asked(ada, "delete", f"shop/dev/flags/{name}", "--wait")
    assert [one["step"] for one in ada.told(request, "run.progressed")] == ["map"]
    nothing = ada.asks(name, "--action", "adopt", "-i", "colour=blue", offering="flags")
    assert "there is nothing to adopt" in ada.sees(nothing, "failed")["because"][0]


@pytest.mark.skipif(
    shutil.which("terraform") is None and shutil.which("tofu") is None, reason="neither terraform nor tofu is installed"
)
def test_a_machine_is_made_by_terraform_from_a_module_of_its_own(ada: Person, place: Town) -> None:
    made = make(ada, "machine", "large", "size=l")
    assert made["outputs"]["size"] == "l"
    assert made["outputs"]["key"].keys() == {"secretRef"}
    dry = ada.asks("large", "--action", "update", "-i", "size=xl", "--dry-run", offering="machine")
    plan = ada.sees(dry, "succeeded")["plan"]
    assert "module.machine.terraform_data.machine" in json.dumps(plan)
    assert make(ada, "machine", "large", "size=xl", action="update")["outputs"]["size"] == "xl"
    ada.does("delete", "shop/dev/machine/large", "--wait")
    assert not list((place.child.data / "workspaces").rglob("*.tfstate"))
    assert "key of l" not in json.dumps(list(ada.client.history()))


def test_a_resource_lives_as_long_as_its_offering_lets_it(ada: Person) -> None:
    def minutes(item: Document) -> int:
        ends, begins = (datetime.fromisoformat(item[name]) for name in ("expires_at", "created_at"))
        return round((ends - begins).total_seconds() / 60)

    made = make(ada, "stay", "inn")
    assert minutes(made) == 60
    ada.does("extend", made["id"], "--for", "90m", "--wait")
    assert minutes(ada.finds(made["id"], "to live longer", lambda one: minutes(one) > 60)) == 90
    assert "exceeds the most that is offered, 2h" in ada.fails("extend", made["id"], "--for", "3h")
    assert "exceeds the most that is offered, 2h" in ada.fails(
        "request", "stay", "hotel", "-p", "shop", "-e", "dev", "--lifetime", "3h"
    )
    late = ada.sees(asked(ada, "extend", made["id"], "--for", "2h"), "failed")
    assert "the offering lets it live until" in late["because"][0]
    assert minutes(ada.resource(made["id"])) == 90


def test_a_resource_is_warned_about_and_ends_by_itself_unless_it_is_extended(ada: Person, place: Town) -> None:
    for name in ("short", "guarded"):
        make(ada, "visit", name)
    ada.finds("shop/dev/visit/short", "to be gone", lambda one: one["state"] == "deleted")
    kinds = ("resource.expiring", "resource.expired", "resource.deleted")
    told = [one for one in ada.client.history(type=list(kinds)) if one["data"]["resource_id"] == "shop/dev/visit/short"]
    facts = [next(kind for kind in kinds if kind in one["type"]) for one in told]
    assert facts == ["resource.expiring", "resource.expiring", "resource.expired", "resource.deleted"]

    ada.finds("shop/dev/visit/guarded", "to be over", lambda one: one["state"] == "expired")

    def ending() -> Document | None:
        newest = ada.requests("shop/dev/visit/guarded")[0]
        return newest if newest["action"] == "delete" else None

    request = eventually(ending, "its end to be asked for", lambda: ada.requests("shop/dev/visit/guarded"))
    assert request["actor"] == "system:expiry"
    approval = ada.open_approval(request["id"])
    ada.does("extend", "shop/dev/visit/guarded", "--for", "1h", "--wait")
    place.person("bob").does("approve", approval["id"])
    failed = ada.sees(request["id"], "failed")
    assert "it was extended after its lifetime had ended; it lives on" in failed["because"][0]
    assert ada.resource("shop/dev/visit/guarded")["state"] == "provisioned"


def test_what_is_paused_is_left_alone_until_the_pause_ends(ada: Person, place: Town) -> None:
    make(ada, "page", "wip", "title=One")
    assert "--reason" in ada.fails("pause", "shop/dev/page/wip", "--for", "1h")
    ada.does("pause", "shop/dev/page/wip", "--for", "1h", "--reason", "a migration by hand", "--wait")
    bob = place.person("bob")
    request = bob.asks("wip", "--action", "update", "-i", "title=Two", offering="page")
    (reason,) = bob.sees(request, "failed")["because"]
    assert re.search(r"is paused by user:ada until \d{4}-\d\d-\d\d \d\d:\d\d UTC: a migration by hand", reason)
    assert "a migration by hand" in bob.does("status", "shop/dev/page/wip")
    ada.does("unpause", "shop/dev/page/wip", "--wait")
    assert make(bob, "page", "wip", "title=Two", action="update")["inputs"] == {"title": "Two"}


def test_a_pause_ends_by_itself_and_holds_up_the_end_of_a_life(ada: Person) -> None:
    ada.sees(ada.asks("asleep", "--lifetime", "5s", offering="visit"), "succeeded")
    ada.does("pause", "shop/dev/visit/asleep", "--for", "6s", "--reason", "a nap", "--wait")
    ada.finds("shop/dev/visit/asleep", "to be gone", lambda one: one["state"] == "deleted")
    kinds = ("resource.paused", "resource.unpaused", "resource.expired", "resource.deleted")
    told = [one for one in ada.client.history(type=list(kinds)) if one["data"]["resource_id"].endswith("/asleep")]
    assert [next(kind for kind in kinds if f".{kind}." in one["type"]) for one in told] == list(kinds)
    assert told[1]["data"]["by"] == "system:pause"


def test_a_rollback_brings_back_what_was_once_through_the_same_gates(
    ada: Person, place: Town, repository: Repository
) -> None:
    make(ada, "page", "news", "title=First")
    make(ada, "page", "news", "title=Second", action="update")
    told = ada.reads("rollback", "shop/dev/page/news", "--reason", "the first was better")
    assert (told["from_revision"], told["to_revision"]) == (2, 1)
    approval = ada.open_approval(told["id"])
    assert repository.text("pages/news/page.yaml") == "title: Second\n"
    place.person("bob").does("approve", approval["id"])
    ada.sees(told["id"], "succeeded")
    assert repository.text("pages/news/page.yaml") == "title: First\n"
    now = ada.finds("shop/dev/page/news", "to be as it was", lambda one: one["inputs"] == {"title": "First"})
    assert now["offering_version"] == "1.0.0"
    revisions = ada.client.every("/v1/resources/shop/dev/page/news/revisions")
    assert [one["action"] for one in revisions] == ["rollback", "update", "create"]
    names = {"project": "shop", "environment": "dev", "offering": "page", "name": "news", "version": "1.0.0"}
    other = {"action": "rollback", "inputs": {"title": "Third"}, "snapshot": {"revision": 1}}
    pretended = ada.client.submit(names | other)["id"]
    place.person("bob").does("approve", ada.open_approval(pretended)["id"])
    assert "never was what the rollback calls revision 1" in ada.sees(pretended, "failed")["because"][0]


def test_what_is_there_is_adopted_as_it_is_and_then_put_right(ada: Person, repository: Repository) -> None:
    make(ada, "page", "first", "title=First")
    repository.push({"pages/old/page.yaml": "title: By hand\n"}, "made by hand in 2019")
    before = repository.commits()
    these = ("page", "old", "-p", "shop", "-e", "dev", "-i", "title=Right")
    assert "page.yaml" in ada.does("adopt", *these, "--dry-run", "--wait")
    assert not ada.resource("shop/dev/page/old")
    said = ada.does("adopt", *these, "--wait")
    assert "pages/old/page.yaml#/title" in said
    assert repository.commits() == before
    owned = ada.finds("shop/dev/page/old", "to be seen to differ", lambda one: one["drift"])
    assert [one["path"] for one in owned["drift"]["differences"]] == ["pages/old/page.yaml#/title"]
    ada.does("reconcile", "shop/dev/page/old", "--wait")
    assert repository.text("pages/old/page.yaml") == "title: Right\n"
    ada.finds("shop/dev/page/old", "to be what it says", lambda one: not one["drift"])
    nothing = ada.sees(asked(ada, "adopt", "page", "never", *these[2:]), "failed")
    assert "there is nothing to adopt" in nothing["because"][0]
