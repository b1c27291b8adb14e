"""Port's and Backstage's files become manifests without losing or normalising anything."""

import json
from pathlib import Path
from typing import Any

import pytest
from entresol_manifests.checking import check
from entresol_manifests.reading import Manifest, ManifestError, read

SEED = Path(__file__).parents[4] / "shared" / "data" / "portal"


def written(folder: Path, name: str, content: Any) -> Path:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
    return folder / name


def port_again(manifest: Manifest) -> dict[str, Any]:
    """The Port document that a manifest was made of."""
    document = manifest.document
    title = {"title": document["metadata"]["title"]} if "title" in document["metadata"] else {}
    return {"identifier": document["metadata"]["name"], **title, **document["spec"]}


BLUEPRINT = {
    "identifier": "API",
    "title": "API",
    "icon": "Link",
    "schema": {"properties": {"type": {"type": "string", "enum": ["Open API", "grpc"]}}, "required": []},
    "mirrorProperties": {},
    "formulaProperties": {},
    "calculationProperties": {},
    "ownership": {"type": "Direct"},
    "relations": {"provider": {"target": "Component", "required": True, "many": False}},
}
ENTITY = {
    "identifier": "CartService",
    "title": "Cart Service",
    "icon": "Cloud",
    "team": ["shop"],
    "blueprint": "Component",
    "properties": {"type": "service"},
    "relations": {"system": "Cart", "consumesApi": [], "provider": None},
}


def test_port_documents_survive_unchanged(tmp_path: Path) -> None:
    paths = [written(tmp_path, "blueprints.json", [BLUEPRINT]), written(tmp_path, "entities.json", [ENTITY])]
    blueprint, entity = read(paths)
    assert port_again(blueprint) == BLUEPRINT
    assert port_again(entity) == ENTITY
    assert check(blueprint.document) == check(entity.document) == []
    assert blueprint.line_of("/spec/relations/provider") == blueprint.line_of("/spec/relations") + 1
    assert entity.line_of("/metadata/name") == 3


def test_nothing_said_differs_from_explicitly_none(tmp_path: Path) -> None:
    silent = {"identifier": "a", "blueprint": "Component", "relations": {}}
    explicit = {"identifier": "b", "blueprint": "Component", "relations": {"consumesApi": []}}
    first, second = read([written(tmp_path, "entities.json", [silent, explicit])])
    assert first.document["spec"]["relations"] == {}
    assert second.document["spec"]["relations"] == {"consumesApi": []}


def test_what_port_writes_about_its_own_copy_is_left_out(tmp_path: Path) -> None:
    exported = {**ENTITY, "createdAt": "2026-01-01T00:00:00Z", "updatedBy": "x", "scorecards": {}}
    (manifest,) = read([written(tmp_path, "entity.json", exported)])
    assert port_again(manifest) == ENTITY


def test_an_entity_must_name_its_blueprint(tmp_path: Path) -> None:
    entities = [ENTITY, {"identifier": "x", "properties": {}}]
    with pytest.raises(ManifestError, match="does not name its blueprint") as failure:
        read([written(tmp_path, "entities.json", entities)])
    assert failure.value.line == 19


@pytest.mark.skipif(not SEED.is_dir(), reason="the portal's seed (../shared/data/portal) is not here")
def test_the_portals_own_catalog_is_read_losslessly() -> None:
    for name, kind in (("blueprints.json", "Blueprint"), ("entities.json", "Entity")):
        manifests = read([SEED / name])
        assert {manifest.document["kind"] for manifest in manifests} == {kind}
        assert [port_again(manifest) for manifest in manifests] == json.loads((SEED / name).read_text())
        assert [finding for manifest in manifests for finding in check(manifest.document)] == []


BACKSTAGE = """\
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: cart
  title: Cart
  description: The cart
  annotations: {github.com/project-slug: shop/cart}
  links: [{url: "https://cart.example", title: Cart}]
spec:
  type: service
  lifecycle: production
  owner: group:default/shop
  system: checkout
  providesApis: [cart-api]
  consumesApis: []
  dependsOn: ["resource:cart-db", "component:other/lib"]
---
apiVersion: backstage.io/v1alpha1
kind: API
metadata: {name: cart-api}
spec: {type: openapi, lifecycle: production, owner: shop, definition: "openapi: 3.1.0"}
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: shop, namespace: teams}
spec: {type: team, children: [], members: [ada]}
"""


def test_backstage_entities_get_the_portals_relations(tmp_path: Path) -> None:
    cart, api, group = read([written(tmp_path, "catalog-info.yaml", BACKSTAGE)])
    assert cart.document["metadata"] == {"name": "cart", "title": "Cart"}
    assert cart.document["spec"] == {
        "blueprint": "Component",
        "team": "shop",
        "properties": {
            "type": "service",
            "lifecycle": "production",
            "description": "The cart",
            "annotations": {"github.com/project-slug": "shop/cart"},
            "links": [{"url": "https://cart.example", "title": "Cart"}],
        },
        "relations": {
            "system": "checkout",
            "consumesApi": [],
            "providesApi": "cart-api",
            "resources": ["cart-db"],
            "components": ["other/lib"],
        },
    }
    assert api.document["spec"]["relations"] == {"provider": "cart"}
    assert api.document["spec"]["properties"]["type"] == "Open API"
    assert group.document["metadata"]["name"] == "teams/shop"
    assert group.document["spec"]["relations"] == {"members": ["teams/ada"], "children": []}
    assert [check(each.document) for each in (cart, api, group)] == [[], [], []]
    assert cart.line_of("/spec/properties/lifecycle") == 11
    assert cart.line_of("/spec/properties/description") == 6


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (BACKSTAGE.replace("kind: Group", "kind: Template"), 24, "Component, API, Resource, System, Domain, Group"),
        (BACKSTAGE.replace("checkout", "a b c"), 13, "[kind:][namespace/]name"),
        (BACKSTAGE.replace("[cart-api]", "cart-api"), 14, "[kind:][namespace/]name"),
        ("apiVersion: backstage.io/v1alpha1\nkind: API\n", 1, "needs metadata and spec"),
    ],
)
def test_backstage_files_that_can_not_be_mapped_say_where(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(ManifestError) as failure:
        read([written(tmp_path, "catalog-info.yaml", text)])
    assert words in failure.value.message
    assert failure.value.line == line
