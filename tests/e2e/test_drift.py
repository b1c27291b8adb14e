"""Somebody changes things by other ways: it is seen, told, tolerated, asked about, or put right."""

import hashlib
import hmac
import itertools
import json
from collections.abc import Mapping

import pytest

from tests.e2e.people import Document, Person, Town, eventually
from tests.e2e.world import DESTINATIONS, Api, Repository

SECRET = "shared with the forge"
PAGE = """\
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: %(name)s, version: 1.0.0}
spec:
  inputs: {type: object, required: [title], properties: {title: {type: string}}}
  drift: %(drift)s
  actions:
    create:
      steps:
        - name: page
          driver: gitops
          with:
            destination: infra
            path: "%(name)s/${resource.name}"
            files: {page.yaml: "title: {{ inputs.title }}\\nreplicas: 1\\n"}
"""
MANIFESTS = (
    DESTINATIONS
    + """\
apiVersion: entresol.dev/v1
kind: Source
metadata: {name: github}
spec: {kind: github, secretRef: "env:HOOK_SECRET"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: account, version: 1.0.0}
spec:
  inputs: {type: object, required: [size], properties: {size: {type: integer}}}
  drift:
    mode: correct
    hints: [{on: dev.entresol.external.received.v1, when: 'event.data.event.type == "forge.account.changed"'}]
  actions:
    create:
      steps:
        - name: account
          driver: http
          with:
            destination: forge
            apply: {path: /things, body: {name: "${resource.name}", size: "${inputs.size}"}}
            update: {method: PUT, path: [things, "${resource.name}"], body: {size: "${inputs.size}"}}
            read: {path: [things, "${resource.name}"]}
            destroy: {path: [things, "${resource.name}"]}
            desired: {size: "${inputs.size}"}
"""
)
PUSHED = 'hints: [{on: dev.entresol.change.pushed.v1, when: event.data.branch == "main"}]'
DRIFTS = {
    "scheduled": "{every: 10s, mode: correct}",
    "reported": f'{{{PUSHED}, tolerate: ["**/page.yaml#/replicas"]}}',
    "corrected": f"{{{PUSHED}, mode: correct}}",
    "asked": f"{{{PUSHED}, mode: ask}}",
}
DELIVERIES = itertools.count(1)


@pytest.fixture(scope="module")
def environment() -> Mapping[str, str]:
    return {"ENTRESOL_PROVISIONING_HTTP_ALLOW_LOOPBACK": "true", "HOOK_SECRET": SECRET}


@pytest.fixture(scope="module")
def ada(place: Town, tmp_path_factory: pytest.TempPathFactory, forge: Api) -> Person:
    """A developer with a page of each kind, named `home`."""
    offered = "".join(PAGE % {"name": name, "drift": drift} for name, drift in DRIFTS.items())
    place.apply(tmp_path_factory.mktemp("manifests"), MANIFESTS % {"api": forge.url} + offered)
    made = place.person("ada")
    requests = [made.asks("home", "-i", "title=Home", offering=name) for name in DRIFTS]
    requests += [made.asks("ada", "-i", "size=1", offering="account")]
    for one in requests:
        made.sees(one, "succeeded")
    return made


@pytest.fixture(scope="module")
def infra(place: Town, tmp_path_factory: pytest.TempPathFactory, ada: Person) -> Repository:
    """Somebody has already meddled with what is looked at by the clock, so that its time passes beside the rest."""
    made = Repository(place.child.data / "repositories" / "infra.git", tmp_path_factory.mktemp("eve") / "clone")
    made.push({"scheduled/home/page.yaml": page("Mine")})
    return made


def told_of_push(place: Town, branch: str = "main") -> None:
    """A push webhook, as GitHub signs it."""
    number = next(DELIVERIES)
    body = json.dumps(
        {
            "ref": f"refs/heads/{branch}",
            "before": "0" * 40,
            "after": f"{number:040}",
            "repository": {"name": "infra", "full_name": "acme/infra"},
            "pusher": {"name": "eve"},
            "commits": [],
        }
    ).encode()
    headers = {
        "content-type": "application/json",
        "x-github-event": "push",
        "x-github-delivery": f"delivery-{number}",
        "x-hub-signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
    }
    place.admin.client.hook("github", body, headers)


def page(title: str = "Home", replicas: int = 1) -> str:
    return f"title: {title}\nreplicas: {replicas}\n"


def drifted(person: Person, resource_id: str) -> list[tuple[str, str]]:
    """Where the resource differs, once it does."""
    found = person.finds(resource_id, "to drift", lambda one: one["drift"])
    return [(one["path"], one["change"]) for one in found["drift"]["differences"]]


def correction(person: Person, resource_id: str, but: tuple[str, ...] = ()) -> Document:
    """The request to put the resource right."""

    def look() -> Document | None:
        asked = [one for one in person.requests(resource_id) if one["action"] == "reconcile" and one["id"] not in but]
        return asked[0] if asked else None

    found: Document = eventually(look, f"{resource_id} to be put right", lambda: person.requests(resource_id))
    assert found["actor"] == "system:drift"
    return found


def converges(person: Person, resource_id: str) -> None:
    person.finds(resource_id, "to be what it says", lambda one: not one["drift"])


def test_what_is_reported_is_told_until_somebody_puts_it_back(ada: Person, place: Town, infra: Repository) -> None:
    infra.push({"reported/home/page.yaml": page("Mine", replicas=5)})
    told_of_push(place, "elsewhere")
    place.settle()
    assert not ada.resource("shop/dev/reported/home")["drift"]
    told_of_push(place)
    assert drifted(ada, "shop/dev/reported/home") == [("reported/home/page.yaml#/title", "changed")]
    assert "shop/dev/reported/home" in ada.does("drift")
    shown = ada.does("drift", "shop/dev/reported/home")
    assert "reported/home/page.yaml#/title" in shown
    assert "Mine" not in shown
    assert [one["action"] for one in ada.requests("shop/dev/reported/home")] == ["create"]
    infra.push({"reported/home/page.yaml": page(replicas=5)}, "the number of replicas is tolerated")
    told_of_push(place)
    converges(ada, "shop/dev/reported/home")
    assert "is what it says" in ada.does("drift", "shop/dev/reported/home")
    assert infra.text("reported/home/page.yaml") == page(replicas=5)


def test_a_file_that_somebody_removed_is_put_back(ada: Person, place: Town, infra: Repository) -> None:
    infra.push({"corrected/home/page.yaml": None}, "who needs this?")
    told_of_push(place)
    request = correction(ada, "shop/dev/corrected/home")
    ada.sees(request["id"], "succeeded")
    assert infra.text("corrected/home/page.yaml") == page()
    converges(ada, "shop/dev/corrected/home")
    facts = ada.facts(request["id"])
    assert facts.index("resource.drifted") < facts.index("request.submitted") < facts.index("run.succeeded")
    assert "it has drifted" in ada.does("status", request["id"])


def test_a_field_that_somebody_changed_at_an_api_is_put_back(ada: Person, place: Town, forge: Api) -> None:
    forge.things["ada"]["size"] = 9
    change = {"specversion": "1.0", "id": "1", "source": "https://forge.example", "type": "forge.account.changed"}
    place.admin.client.publish(change)
    request = correction(ada, "shop/dev/account/ada")
    ada.sees(request["id"], "succeeded")
    assert forge.things["ada"]["size"] == 1
    (told,) = ada.told(request["id"], "resource.drifted")
    assert [(one["path"].rpartition("#")[2], one["change"]) for one in told["differences"]] == [("/size", "changed")]
    converges(ada, "shop/dev/account/ada")


def test_the_owner_says_whether_it_is_put_right(ada: Person, place: Town, infra: Repository) -> None:
    infra.push({"asked/home/page.yaml": page("Mine")})
    told_of_push(place)
    first = correction(ada, "shop/dev/asked/home")
    approval = ada.open_approval(first["id"])
    assert approval["approvers"] == ["user:ada"]
    ada.does("reject", approval["id"], "--reason", "it is better so")
    ada.sees(first["id"], "rejected")
    assert infra.text("asked/home/page.yaml") == page("Mine")
    assert ada.resource("shop/dev/asked/home")["drift"]

    infra.push({"asked/home/page.yaml": page("Theirs", replicas=3)})
    told_of_push(place)
    second = correction(ada, "shop/dev/asked/home", but=(first["id"],))
    ada.does("approve", ada.open_approval(second["id"])["id"])
    ada.sees(second["id"], "succeeded")
    assert infra.text("asked/home/page.yaml") == page()
    converges(ada, "shop/dev/asked/home")


def test_what_nobody_tells_of_is_seen_by_the_clock(ada: Person, infra: Repository) -> None:
    request = correction(ada, "shop/dev/scheduled/home")
    ada.sees(request["id"], "succeeded")
    assert infra.text("scheduled/home/page.yaml") == page()
    converges(ada, "shop/dev/scheduled/home")
