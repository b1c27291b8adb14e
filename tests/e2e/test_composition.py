"""Resources that need others: made, shared, refused, followed and given up; and the stages of what they are made by."""

from pathlib import Path

import pytest

from tests.e2e.people import Person, Town, eventually

MANIFESTS = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: store, version: 1.0.0}
spec:
  inputs:
    type: object
    additionalProperties: false
    properties: {size: {type: string, enum: [small, large, huge], default: small}}
  actions:
    create: {steps: [{name: make, driver: noop, with: {outputs: {host: "${request.name}.${inputs.size}"}}}]}
  outputs: {host: "${steps.make.outputs.host}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: app, version: 1.0.0}
spec:
  inputs:
    type: object
    additionalProperties: false
    properties:
      size: {type: string, enum: [small, large, huge], default: small}
      cached: {type: boolean, default: false}
      breaks: {type: boolean, default: false}
  requires:
    - {name: store, offering: store, inputs: {size: "${inputs.size}"}}
    - {name: cache, offering: store, when: inputs.cached}
  actions:
    create:
      onFailure: compensate
      steps:
        - {name: code, driver: noop, with: {outputs: {uses: "${requires.store.outputs.host}"}}}
        - {name: open, driver: noop, needs: [code], retries: 0, with: {fail: "${inputs.breaks ? 'stuck' : ''}"}}
  outputs: {uses: "${steps.code.outputs.uses}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: stall, version: 1.0.0}
spec:
  requires: [{name: hall, offering: store, id: "${environment}-hall"}]
  actions:
    create: {steps: [{name: table, driver: noop, with: {outputs: {at: "${requires.hall.outputs.host}"}}}]}
  implementations:
    - name: outside
      match: {environment: [staging]}
      actions: {create: {steps: [{name: table, driver: noop, with: {outputs: {at: the street}}}]}}
    - name: tent
      match: {environment: [staging], class: [dry]}
      actions: {create: {steps: [{name: table, driver: noop, with: {outputs: {at: a tent}}}]}}
  outputs: {at: "${steps.table.outputs.at}"}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: stand, version: 1.0.0}
spec:
  requires: [{name: store, offering: store}]
  actions: {create: {steps: [{name: build, driver: noop}]}}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: egg, version: 1.0.0}
spec:
  requires: [{name: hen, offering: hen}]
  actions: {create: {steps: [{name: lay, driver: noop}]}}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: hen, version: 1.0.0}
spec:
  requires: [{name: egg, offering: egg, when: environment != "farm"}]
  actions: {create: {steps: [{name: hatch, driver: noop}]}}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: ring, version: 1.0.0}
spec:
  requires: [{name: next, offering: ring, id: b, when: environment == "dev"}]
  actions: {create: {steps: [{name: bend, driver: noop}]}}
---
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: doll, version: 1.0.0}
spec:
  inputs:
    type: object
    additionalProperties: false
    properties: {inside: {type: integer, minimum: 0, default: 0}}
  requires: [{name: smaller, offering: doll, when: inputs.inside > 0, inputs: {inside: "${inputs.inside - 1}"}}]
  actions: {create: {steps: [{name: paint, driver: noop}]}}
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: nothing-huge}
spec:
  when: request.offering == "store"
  rules: [{deny: 'has(request.inputs.size) && request.inputs.size == "huge"', because: too much}]
---
apiVersion: entresol.dev/v1
kind: Policy
metadata: {name: production-is-asked-for}
spec:
  when: request.offering == "store" && request.environment == "prod"
  rules: [{approve: {from: ["group:sre"], count: 1, within: 1h}}]
"""


@pytest.fixture(scope="module")
def people(place: Town, tmp_path_factory: pytest.TempPathFactory) -> Town:
    place.apply(tmp_path_factory.mktemp("composition"), MANIFESTS)
    return place


@pytest.fixture
def ada(people: Town) -> Person:
    return people.person("ada")


def test_what_is_needed_comes_first_follows_and_goes_too(ada: Person) -> None:
    ada.does("request", "app", "cart", "-p", "shop", "-e", "dev", "--wait")
    app = ada.finds("shop/dev/app/cart", "to be there", lambda one: one["state"] == "provisioned")
    assert app["outputs"] == {"uses": "cart-store.small"}
    assert app["requires"] == {"store": "shop/dev/store/cart-store"}
    ada.does("request", "app", "cart", "-p", "shop", "-e", "dev", "--action", "update", "-i", "size=large", "--wait")
    assert ada.resource("shop/dev/app/cart")["outputs"] == {"uses": "cart-store.large"}
    assert "it is needed by shop/dev/app/cart" in ada.fails("delete", "shop/dev/store/cart-store", "--wait")
    ada.does("rollback", "shop/dev/app/cart", "--wait")
    assert ada.resource("shop/dev/store/cart-store")["inputs"] == {"size": "small"}
    ada.does("delete", "shop/dev/app/cart", "--wait")
    assert ada.resource("shop/dev/store/cart-store")["state"] == "deleted"


def test_what_is_needed_no_more_is_given_up_by_an_update(ada: Person) -> None:
    ada.does("request", "app", "spare", "-p", "shop", "-e", "dev", "-i", "cached=true", "--wait")
    assert ada.resource("shop/dev/store/spare-cache")["state"] == "provisioned"
    update = ("request", "app", "spare", "-p", "shop", "-e", "dev", "--action", "update", "-i", "cached=false")
    ada.does(*update, "--wait")
    assert ada.resource("shop/dev/store/spare-cache")["state"] == "deleted"
    assert ada.resource("shop/dev/app/spare")["requires"] == {"store": "shop/dev/store/spare-store"}


def test_what_was_made_for_a_request_that_fails_is_taken_back(ada: Person) -> None:
    said = ada.fails("request", "app", "broken", "-p", "shop", "-e", "dev", "-i", "breaks=true", "--wait")
    assert "stuck" in said
    assert ada.resource("shop/dev/store/broken-store")["state"] == "deleted"
    assert not ada.resource("shop/dev/app/broken")


def test_policies_judge_what_is_needed_like_anything_else(ada: Person) -> None:
    said = ada.fails("request", "app", "vast", "-p", "shop", "-e", "dev", "-i", "size=huge", "--wait")
    assert "too much" in said
    assert not ada.resource("shop/dev/store/vast-store")


def test_a_person_is_asked_for_what_is_needed(people: Town, ada: Person) -> None:
    grace = people.person("grace", "sre")
    parent = ada.asks("cart", offering="app", environment="prod")
    waits = ada.sees(parent, "running")
    resource = "shop/prod/store/cart-store"
    child = eventually(lambda: ada.requests(resource), "a request for it", lambda: waits)[0]
    approval = grace.open_approval(child["id"])
    assert waits["id"] == parent
    assert resource in ada.does("status", parent)
    grace.does("approve", approval["id"])
    ada.sees(parent, "succeeded")


def test_a_request_that_waits_for_another_can_be_cancelled(people: Town, ada: Person) -> None:
    grace = people.person("grace", "sre")
    parent = ada.asks("late", offering="app", environment="prod")
    resource = "shop/prod/store/late-store"
    child = eventually(lambda: [one["id"] for one in ada.requests(resource)], "a request for it", lambda: parent)[0]
    grace.open_approval(child)
    ada.does("cancel", parent)
    ada.sees(parent, "cancelled")
    ada.sees(child, "cancelled")
    assert not ada.resource(resource)


def test_one_is_shared_by_all_that_need_it_and_goes_with_the_last(ada: Person) -> None:
    asked = [ada.asks(f"stall-{number}", offering="stall", environment="test") for number in range(8)]
    for request in asked:
        ada.sees(request, "succeeded")
    hall = ada.resource("shop/test/store/test-hall")
    assert hall["state"] == "provisioned"
    assert len(hall["required_by"]) == 8
    gone = [ada.reads("delete", f"shop/test/stall/stall-{number}")["id"] for number in range(8)]
    for request in gone:
        ada.sees(request, "succeeded")
    ada.finds("shop/test/store/test-hall", "to be gone", lambda one: one["state"] == "deleted")


def test_what_people_asked_for_themselves_is_never_taken_from_them(ada: Person) -> None:
    ada.does("request", "store", "own-hall", "-p", "shop", "-e", "own", "--wait")
    ada.does("request", "stall", "one", "-p", "shop", "-e", "own", "--wait")
    ada.does("delete", "shop/own/stall/one", "--wait")
    assert ada.resource("shop/own/store/own-hall")["state"] == "provisioned"


def test_what_somebody_else_has_of_that_name_is_not_taken_for_ones_own(ada: Person) -> None:
    theirs = "shop/dev/store/market-store"
    ada.does("request", "store", "market-store", "-p", "shop", "-e", "dev", "--wait")
    request = ("request", "app", "market", "-p", "shop", "-e", "dev", "-i", "size=large", "--wait")
    assert f"{theirs}, which it would make for itself, is there already and is user:ada's own" in ada.fails(*request)
    assert "user:ada's own" in ada.fails(*request, "--dry-run")
    assert ada.resource(theirs)["inputs"] == {"size": "small"}
    ada.does("delete", theirs, "--wait")
    ada.does(*request)
    ada.does(*request, "--action", "update", "-i", "size=small")
    other = ("request", "stand", "market", "-p", "shop", "-e", "dev", "--wait")
    assert f"{theirs}, which it would make for itself, is there already and is made for shop/dev/app/market" in (
        ada.fails(*other)
    )
    ada.does("delete", "shop/dev/app/market", "--wait")
    ada.does(*other)


def test_what_was_adopted_with_what_it_needs_can_be_changed(ada: Person) -> None:
    ada.does("request", "store", "old-store", "-p", "shop", "-e", "dev", "--wait")
    ada.does("adopt", "app", "old", "-p", "shop", "-e", "dev", "--wait")
    ada.does("request", "app", "old", "-p", "shop", "-e", "dev", "--action", "update", "-i", "size=large", "--wait")
    assert ada.resource("shop/dev/store/old-store")["inputs"] == {"size": "large"}


def test_a_circle_is_refused_when_it_is_published(people: Town, tmp_path: Path) -> None:
    file = tmp_path / "egg.yaml"
    file.write_text(
        "apiVersion: entresol.dev/v1\nkind: Offering\nmetadata: {name: egg, version: 1.1.0}\n"
        "spec: {requires: [{name: first, offering: egg, id: first}], actions: {create: {}}}\n"
    )
    assert "goes round in a circle: egg 1.1.0 → egg 1.1.0" in people.admin.fails("apply", str(file))


def test_a_circle_on_a_condition_is_found_and_leaves_nothing(ada: Person) -> None:
    said = ada.fails("request", "egg", "first", "-p", "shop", "-e", "dev", "--wait")
    assert "goes round in a circle: egg 1.0.0 → hen 1.0.0 → egg 1.0.0" in said
    assert not [one for one in ada.requests("shop/dev/egg/first") if one["state"] == "running"]


def test_a_shared_resource_that_waits_for_itself_is_found(ada: Person) -> None:
    said = ada.fails("request", "ring", "a", "-p", "shop", "-e", "dev", "--wait")
    ring = "shop/dev/ring"
    assert f"goes round in a circle: {ring}/b → {ring}/b" in " ".join(said.split())


def test_what_requires_others_of_its_kind_may_come_to_an_end(ada: Person) -> None:
    ada.does("request", "doll", "big", "-p", "shop", "-e", "dev", "-i", "inside=3", "--wait")
    inner = ada.resource("shop/dev/doll/big-smaller-smaller-smaller")
    assert (inner["state"], inner["inputs"]) == ("provisioned", {"inside": 0})
    ada.does("delete", "shop/dev/doll/big", "--wait")
    assert ada.resource(inner["id"])["state"] == "deleted"


def test_the_most_specific_implementation_is_chosen_and_said_why(ada: Person) -> None:
    for name, options, expected in (
        ("plain", ("-e", "staging"), "the street"),
        ("fancy", ("-e", "staging", "--class", "dry"), "a tent"),
        ("other", ("-e", "qa", "--class", "dry"), "qa-hall.small"),
    ):
        ada.does("request", "stall", name, "-p", "shop", *options, "--wait")
        environment = options[1]
        assert ada.resource(f"shop/{environment}/stall/{name}")["outputs"] == {"at": expected}
    explained = ada.reads("offering", "explain", "stall", "-p", "shop", "-e", "staging", "--class", "dry")
    assert explained["implementation"] == "tent"


def test_stages_say_who_may_have_a_version(people: Town, ada: Person, tmp_path: Path) -> None:
    def publish(version: str, limit: int = 9, more: str = "") -> str:
        file = tmp_path / f"{version}.yaml"
        file.write_text(
            f"apiVersion: entresol.dev/v1\nkind: Offering\nmetadata: {{name: cup, version: {version}}}\n"
            f"spec: {{inputs: {{type: object, properties: {{size: {{type: integer, maximum: {limit}}}{more}}}}}, "
            "actions: {create: {steps: [{name: make, driver: noop}]}}}\n"
        )
        return str(file)

    admin = people.admin
    admin.does("apply", publish("1.0.0"))
    ada.does("request", "cup", "old", "-p", "shop", "-e", "dev", "--wait")
    refusal = admin.fails("apply", publish("1.1.0", limit=5))
    assert "size" in refusal
    assert "2.0.0" in refusal
    admin.does("apply", "--proposed", publish("1.2.0", more=", colour: {default: red}"))
    assert ada.reads("request", "cup", "new", "-p", "shop", "-e", "dev")["version"] == "1.0.0"
    assert ada.reads("request", "cup", "tried", "-p", "shop", "-e", "dev", "--version", "1.2.0")["version"] == "1.2.0"
    admin.does("offering", "promote", "cup", "1.2.0")
    assert ada.reads("request", "cup", "newer", "-p", "shop", "-e", "dev")["version"] == "1.2.0"
    admin.does("offering", "defect", "cup", "1.0.0", "--reason", "it leaks")
    assert "defective" in ada.fails("request", "cup", "bad", "-p", "shop", "-e", "dev", "--version", "1.0.0")
    assert "old" in admin.does("offering", "impact", "cup@1.0.0")
    moved = ("request", "cup", "old", "-p", "shop", "-e", "dev", "--action", "update", "--version", "1.2.0", "--wait")
    ada.does(*moved)
    moved_on = ada.resource("shop/dev/cup/old")
    assert (moved_on["offering_version"], moved_on["inputs"]) == ("1.2.0", {"colour": "red"})
    admin.does("apply", publish("2.0.0", limit=5))
    big = ("request", "cup", "big", "-p", "shop", "-e", "dev", "--wait")
    ada.does(*big, "--version", "1.2.0", "-i", "size=9")
    said = ada.fails(*big, "--action", "update", "--version", "2.0.0")
    assert "its inputs are not what cup 2.0.0 takes: /size must be at most 5" in said
