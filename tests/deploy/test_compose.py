"""compose/ is consistent in itself and with the services; no container engine is needed to tell."""

import re
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.permissions import SERVICES

from tests.deploy import manifests

FILE = manifests.load(manifests.COMPOSE / "compose.yaml")
OVERLAY = manifests.load(manifests.COMPOSE / "nats-cluster.yaml")
OURS = (*SERVICES, "streams")


def merged() -> manifests.Object:
    """The two files laid over each other, as compose does it for what the overlay uses."""

    def over(base: Any, top: Any) -> Any:
        if isinstance(base, dict) and isinstance(top, dict):
            return {
                key: over(base[key], top[key]) if key in base and key in top else {**base, **top}[key]
                for key in {**base, **top}
            }
        return top

    whole: manifests.Object = over(FILE, OVERLAY)
    return whole


FILES = {"compose.yaml": FILE, "with nats-cluster.yaml": merged()}


@pytest.fixture(params=FILES)
def compose(request: pytest.FixtureRequest) -> manifests.Object:
    return FILES[request.param]


def test_every_part_of_the_platform_is_there(compose: manifests.Object) -> None:
    assert compose["services"].keys() >= {*SERVICES, "postgres", "nats", "streams", "prometheus", "grafana"}


def test_only_known_keys_are_used(compose: manifests.Object) -> None:
    known = {
        *("image", "build", "command", "environment", "volumes", "networks", "ports", "healthcheck", "depends_on"),
        *("restart", "read_only", "cap_drop", "cap_add", "security_opt", "logging", "init", "stop_grace_period"),
        *("tmpfs", "secrets", "shm_size"),
    }
    for name, service in compose["services"].items():
        assert service.keys() <= known, name
    assert {key for key in compose if not key.startswith("x-")} == {
        "name",
        "services",
        "networks",
        "volumes",
        "secrets",
    }


def test_everything_named_is_defined_and_everything_defined_is_used(compose: manifests.Object) -> None:
    services = compose["services"].values()
    mounts = [volume.split(":")[0] for service in services for volume in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith(".")} == compose["volumes"].keys()
    assert {network for service in services for network in service["networks"]} == compose["networks"].keys()
    assert {secret for service in services for secret in service.get("secrets", [])} == compose["secrets"].keys()


def test_files_that_are_mounted_exist(compose: manifests.Object) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (manifests.COMPOSE / source).exists(), (name, source)


def test_a_dependency_exists_can_be_met_and_shares_a_network(compose: manifests.Object) -> None:
    services = compose["services"]
    for name, service in services.items():
        needs = service.get("depends_on", {})
        for needed in needs:
            condition = needs[needed]["condition"] if isinstance(needs, dict) else "service_started"
            if condition == "service_completed_successfully":
                assert services[needed]["restart"] in {"no", "on-failure"}
                continue
            image_checks_itself = needed in SERVICES
            assert condition == "service_started" or image_checks_itself or "test" in services[needed]["healthcheck"]
            assert set(service["networks"]) & set(services[needed]["networks"]), (name, needed)


def test_dependencies_have_no_circle(compose: manifests.Object) -> None:
    services = compose["services"]

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, (*above, name)
        for needed in services[name].get("depends_on", {}):
            visit(needed, (*above, name))

    for name in services:
        visit(name, ())


def test_every_variable_is_one_that_the_service_reads(compose: manifests.Object) -> None:
    for name in OURS:
        prefix = f"ENTRESOL_{name.upper()}_"
        fields = {f"{prefix}{field}".upper() for field in manifests.settings(name).model_fields}
        variables = {key for key in compose["services"][name]["environment"] if key.startswith("ENTRESOL_")}
        assert variables
        assert variables <= fields, variables - fields


def test_the_values_are_accepted_by_the_settings(compose: manifests.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OURS:
        for key, value in compose["services"][name]["environment"].items():
            filled_in = re.sub(r"\$\{\w+:\?[^}]*\}", "pFilledIn", str(value))
            monkeypatch.setenv(key, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", filled_in))
        settings = manifests.settings(name)()
        assert settings.nats_password is not None
        if name != "streams":
            assert settings.port == 8080
            assert settings.database_for(name) == f"postgresql+psycopg://{name}:pFilledIn@postgres:5432/{name}"


def test_what_must_be_filled_in_is_listed_in_the_example() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", (manifests.COMPOSE / "compose.yaml").read_text(encoding="utf-8")))
    wanted |= set(re.findall(r"\$\{(\w+):\?", (manifests.COMPOSE / "nats-cluster.yaml").read_text(encoding="utf-8")))
    lines = (manifests.COMPOSE / ".env.example").read_text(encoding="utf-8").splitlines()
    assert {line.removesuffix("=") for line in lines if line and not line.startswith("#")} == wanted


def test_links_for_answers_are_read_by_the_keys_that_sign_them() -> None:
    for name in ("intake", "notification"):
        assert (
            FILE["services"][name]["environment"][f"ENTRESOL_{name.upper()}_LINK_KEY_FILE"] == "/run/secrets/link-keys"
        )
        assert "link-keys" in FILE["services"][name]["secrets"]
    assert FILE["services"]["notification"]["environment"]["ENTRESOL_NOTIFICATION_PUBLIC_URL"].startswith("${")


def test_no_secret_is_in_the_files() -> None:
    for path in manifests.COMPOSE.rglob("*"):
        if path.is_file() and path.name != ".env" and path.parent.name not in {"secrets", "__pycache__"}:
            found = re.findall(
                r"(?im)^\s*\w*(?:password|token|secret)\w*\s*[:=][ \t]*(?!\$|\"?\$\{|\{|\[|/)\S+",
                path.read_text("utf-8"),
            )
            assert path.suffix in {".py", ".md"} or not found, (path, found)


def test_every_container_is_hardened(compose: manifests.Object) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name


def test_images_are_pinned(compose: manifests.Object) -> None:
    for name, service in compose["services"].items():
        _, _, tag = service["image"].rpartition(":")
        assert tag, name
        assert tag != "latest", name


def test_only_loopback_is_published(compose: manifests.Object) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_only_workers_with_a_reason_reach_outside() -> None:
    outside = {name for name, service in FILE["services"].items() if "outside" in service["networks"]}
    assert outside & set(SERVICES) == {"provisioning", "notification"}
    assert all(network.get("internal") for name, network in FILE["networks"].items() if name != "outside")


def test_prometheus_scrapes_every_service() -> None:
    prometheus = manifests.load(manifests.COMPOSE / "prometheus/prometheus.yml")
    (job,) = prometheus["scrape_configs"]
    targets = {target for group in job["static_configs"] for target in group["targets"]}
    assert targets == {f"{service}:8080" for service in SERVICES}
    for name in SERVICES:
        assert set(FILE["services"][name]["networks"]) & set(FILE["services"]["prometheus"]["networks"])
    for rules in prometheus["rule_files"]:
        assert (manifests.COMPOSE / "prometheus" / rules).exists()


def test_each_service_has_a_database_of_its_own() -> None:
    script = (manifests.COMPOSE / "postgres/databases.sh").read_text(encoding="utf-8")
    (listed,) = re.findall(r"for service in ([a-z ]+);", script)
    assert set(listed.split()) == set(SERVICES)
    for service in SERVICES:
        assert f"{service.upper()}_DATABASE_PASSWORD" in FILE["services"]["postgres"]["environment"]


def test_the_doors_lead_to_both_doors_and_not_to_metrics() -> None:
    text = Path(manifests.COMPOSE / "doors/Caddyfile").read_text(encoding="utf-8")
    for door in ("intake", "catalog"):
        assert f"reverse_proxy {door}:8080" in text
        assert f"/{door}/metrics" in text
        assert "doors" in FILE["services"][door]["networks"]
    assert FILE["services"]["doors"]["ports"] == ["127.0.0.1:${ENTRESOL_PORT:-8400}:8400"]
