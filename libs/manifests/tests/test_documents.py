"""What the project publishes passes its own check: the guides, the starter platform, the catalog example."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from entresol_manifests import folders, yaml_text
from entresol_manifests.checking import check
from entresol_manifests.expressions import Scope, compile_expression
from entresol_manifests.placeholders import interpolate
from entresol_manifests.reading import Manifest, read
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = Path(__file__).parents[3]
STARTER = ROOT / "libs" / "cli" / "src" / "entresol" / "starter"
SEED = ROOT.parent / "shared" / "data" / "portal"
GUIDES = ("drivers.md", "offerings.md", "policies.md")


def snippets(guide: str) -> list[tuple[int, str]]:
    text = (ROOT / "docs" / guide).read_text()
    found = re.finditer(r"^```yaml[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, each.start()) + 1, each[1]) for each in found]


@pytest.mark.parametrize("guide", GUIDES)
def test_every_yaml_in_a_guide_can_be_applied(guide: str, tmp_path: Path) -> None:
    assert snippets(guide)
    for line, text in snippets(guide):
        if "\ncases:" in text:  # tests of policies, which are run elsewhere
            continue
        for parsed in yaml_text.parse_all(text):
            for folder in folders.folders(parsed.value, tmp_path):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "file").write_text("")
        path = tmp_path / f"{guide}-{line}.yaml"
        path.write_text(text)
        faults = [
            f"{guide}:{line + each.line_of(f.pointer)}: {f}" for each in read([path]) for f in check(each.document)
        ]
        assert faults == []


@pytest.mark.parametrize("guide", GUIDES)
def test_every_function_that_a_guide_names_exists(guide: str) -> None:
    text = (ROOT / "docs" / guide).read_text()
    for source in re.findall(r"`([^`\n]*(?:has\(|now\.|double\(|actor\.groups)[^`\n]*)`", text):
        compile_expression(source)


@pytest.fixture(scope="module")
def starter() -> list[Manifest]:
    return read([STARTER])


def named(manifests: list[Manifest], kind: str) -> dict[str, dict[str, Any]]:
    return {each.document["metadata"]["name"]: each.document for each in manifests if each.document["kind"] == kind}


def test_the_starter_platform_can_be_applied(starter: list[Manifest]) -> None:
    faults = [f"{each.origin.path}:{each.line_of(f.pointer)}: {f}" for each in starter for f in check(each.document)]
    assert faults == []
    assert set(named(starter, "Offering")) == {"service", "environment", "database", "deployment", "app"}


def test_the_starter_platform_names_only_what_it_has(starter: list[Manifest]) -> None:
    blueprints, destinations = named(starter, "Blueprint"), named(starter, "Destination")
    offerings, channels = named(starter, "Offering"), named(starter, "Channel")
    for blueprint in blueprints.values():
        assert {each["target"] for each in blueprint["spec"]["relations"].values()} <= set(blueprints)
    for offering in offerings.values():
        entity = offering["spec"]["entity"]
        blueprint = blueprints[entity["blueprint"]]["spec"]
        assert set(entity["properties"]) <= set(blueprint["schema"]["properties"])
        assert set(entity.get("relations", {})) <= set(blueprint["relations"])
        used = {step["with"]["destination"] for step in steps(offering) if "destination" in step["with"]}
        assert used <= set(destinations)
        assert {each["offering"] for each in offering["spec"].get("requires", [])} <= set(offerings)
    for trigger in named(starter, "Trigger").values():
        offering = offerings[trigger["spec"]["request"]["offering"]]
        assert trigger["spec"]["request"]["environment"] in offering["spec"]["environments"]
        assert set(offering["spec"]["inputs"]["required"]) <= set(trigger["spec"]["request"]["inputs"])
    for route in named(starter, "Route").values():
        assert route["spec"]["channel"] in channels


def steps(offering: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for way in (offering["spec"], *offering["spec"].get("implementations", [])):
        for action in way["actions"].values():
            yield from action.get("steps", [])


@pytest.mark.skipif(not SEED.is_dir(), reason="the portal's seed (../shared/data/portal) is not here")
def test_the_starters_portal_blueprints_equal_the_portals_own(starter: list[Manifest]) -> None:
    ours = named(starter, "Blueprint")
    for manifest in read([SEED / "blueprints.json"]):
        assert ours[manifest.document["metadata"]["name"]] == manifest.document


def test_the_catalog_example_hangs_together() -> None:
    manifests = read([STARTER.parent / "examples" / "catalog-example.yaml"])
    assert [finding for each in manifests for finding in check(each.document)] == []
    names = set(named(manifests, "Entity"))
    for manifest in manifests:
        for target in manifest.document["spec"]["relations"].values():
            assert set(target if isinstance(target, list) else [target]) <= names


def event(kind: str, data: dict[str, Any]) -> Scope:
    return Scope(event={"type": f"dev.entresol.{kind}.v1", "source": "/github/shop", "data": data})


REPOSITORY = {"name": "Cart_API", "full_name": "Shop/Cart_API", "url": "https://git.example/Shop/Cart_API"}


def test_a_merged_change_asks_for_a_deployment(starter: list[Manifest]) -> None:
    trigger = named(starter, "Trigger")["deploy-merged-changes"]["spec"]
    merged = event("change.merged", {"repository": REPOSITORY, "branch": "main", "revision": "c4295bd"})
    assert compile_expression(trigger["when"]).holds(merged)
    request = interpolate(trigger["request"], merged)
    assert (request["project"], request["name"]) == ("shop", "cart-api")
    assert request["inputs"] == {"image": "ghcr.io/shop/cart_api", "revision": "c4295bd"}
    elsewhere = event("change.merged", {"repository": REPOSITORY, "branch": "dev", "revision": "c4295bd"})
    assert not compile_expression(trigger["when"]).holds(elsewhere)


def test_an_artifact_without_its_repository_is_passed_by(starter: list[Manifest]) -> None:
    trigger = named(starter, "Trigger")["deploy-published-artifacts"]["spec"]
    assert not compile_expression(trigger["when"]).holds(event("artifact.published", {"artifact": "pkg:oci/cart"}))
    whole = event("artifact.published", {"artifact": "x", "name": "cart", "version": "1.2", "repository": REPOSITORY})
    assert compile_expression(trigger["when"]).holds(whole)
    assert interpolate(trigger["request"], whole)["inputs"]["revision"] == "1.2"


def asked(
    offering: str, inputs: dict[str, Any], action: str = "create", there: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "id": "r-1",
        "offering": offering,
        "version": "1.0.0",
        "action": action,
        "project": "shop",
    }
    request |= {"environment": "staging", "name": "orders", "resource": f"shop/staging/{offering}/orders"}
    request |= {"inputs": inputs, "dry_run": False, "lifetime_seconds": None, "reason": None}
    resource = {"id": request["resource"], "name": "orders", "inputs": {}, "outputs": {}, **there}
    return {
        "request": request,
        "inputs": {**resource["inputs"], **inputs},
        "actor": {"id": "user:ada", "groups": ["data"]},
        "environment": "staging",
        "resource": resource,
        "steps": {},
        "capabilities": {"terraform": False},
    }


@pytest.mark.parametrize(
    ("groups", "environment", "size", "action", "denied"),
    [
        ([], "staging", "large", "update", True),
        (["data"], "staging", "large", "create", False),
        ([], "prod", "large", "create", False),
        ([], "dev", "small", "create", False),
        ([], "dev", "large", "delete", False),
    ],
)
def test_large_databases_are_for_production(
    starter: list[Manifest], groups: list[str], environment: str, size: str, action: str, denied: bool
) -> None:
    policy = named(starter, "Policy")["large-databases-are-for-production"]["spec"]
    request = {"offering": "database", "environment": environment, "action": action, "inputs": {"size": size}}
    scope = Scope(request=request, actor={"id": "user:ada", "groups": groups})
    conditions = [policy["when"], policy["rules"][0]["deny"]]
    assert all(compile_expression(source).holds(scope) for source in conditions) is denied


def test_database_outputs_are_the_same_for_both_ways(starter: list[Manifest]) -> None:
    spec = named(starter, "Offering")["database"]["spec"]
    scope = asked("database", {"size": "small"})
    without = interpolate(spec["outputs"], Scope(**scope))
    made = {"instance": {"outputs": {"host": "orders-rw.shop-staging.svc", "port": 5432}}, "manifests": {"outputs": {}}}
    assert interpolate(spec["outputs"], Scope(**{**scope, "steps": made})) == without
    skipped = {"instance": {"outputs": {}}, "manifests": {"outputs": {"commit": "c0"}}}
    assert interpolate(spec["outputs"], Scope(**{**scope, "steps": skipped})) == without


def test_a_deployment_goes_back_to_where_it_was(starter: list[Manifest]) -> None:
    spec = named(starter, "Offering")["deployment"]["spec"]
    inputs = {"image": "shop/cart", "revision": "v1", "replicas": 1, "port": 8080}
    first = interpolate(spec["outputs"], Scope(**asked("deployment", inputs)))
    assert (first["revision"], first["previous"]) == ("v1", [])
    inputs["revision"] = "v2"
    second = interpolate(spec["outputs"], Scope(**asked("deployment", inputs, "update", {"outputs": first})))
    assert (second["revision"], second["previous"]) == ("v2", ["v1"])
    inputs["replicas"] = 2
    assert interpolate(spec["outputs"], Scope(**asked("deployment", inputs, "update", {"outputs": second}))) == second
    back = asked("deployment", {}, "revert", {"outputs": second, "inputs": inputs})
    assert interpolate(spec["outputs"], Scope(**back))["revision"] == "v1"
    assert image_of(spec, back) == "shop/cart:v1"
    chosen = asked("deployment", {"to": "v0"}, "revert", {"outputs": second, "inputs": inputs})
    assert interpolate(spec["outputs"], Scope(**chosen))["revision"] == "v0"
    assert image_of(spec, chosen) == "shop/cart:v0"


def image_of(spec: dict[str, Any], variables: dict[str, Any]) -> str:
    files = rendered(spec["actions"]["revert"]["steps"][0], variables)
    (parsed,) = yaml_text.parse_all(files["deployment.yaml"])
    return str(parsed.value["spec"]["template"]["spec"]["containers"][0]["image"])


def rendered(step: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, str]:
    jinja = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    return {path: jinja.from_string(text).render(variables) for path, text in step["with"]["files"].items()}


INPUTS: dict[str, dict[str, Any]] = {
    "environment": {"size": "medium"},
    "database": {"size": "large"},
    "deployment": {"image": "shop/cart", "revision": "v1", "replicas": 2, "port": 8080},
    "service": {"description": 'Carts: "all" of them', "port": 9000},
}


@pytest.mark.parametrize("offering", list(INPUTS))
def test_templates_become_yaml(starter: list[Manifest], offering: str) -> None:
    for step in steps(named(starter, "Offering")[offering]):
        if (
            step["driver"] == "gitops"
            and step in named(starter, "Offering")[offering]["spec"]["actions"]["create"]["steps"]
        ):
            for path, text in rendered(step, asked(offering, INPUTS[offering])).items():
                assert "{{" not in text.replace("${{", "")
                if path.endswith(".yaml"):
                    assert list(yaml_text.parse_all(text))


def test_the_scaffolded_service_passes_its_own_tests(starter: list[Manifest], tmp_path: Path) -> None:
    (step,) = named(starter, "Offering")["service"]["spec"]["actions"]["create"]["steps"]
    for path, text in rendered(step, asked("service", INPUTS["service"])).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    run = [
        sys.executable,
        "-I",
        "-c",
        "import sys; sys.path.insert(0, '.'); import unittest; unittest.main(module=None)",
    ]
    done = subprocess.run([*run, "discover"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Ran 3 tests" in done.stderr
    assert json.dumps("orders") in (tmp_path / "service" / "__init__.py").read_text()
