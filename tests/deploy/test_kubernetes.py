"""k8s/ builds, every reference in it leads somewhere, and every pod meets the restricted profile."""

import inspect
import re

import pytest
from entresol_eventing.permissions import SERVICES
from entresol_policy.evaluation import Evaluator

from tests.deploy import manifests

MADE_BY_HAND = {
    "entresol-nats",
    "entresol-admin-token",
    "entresol-link-keys",
    *(f"entresol-{service}-database" for service in SERVICES),
    *(f"entresol-{service}-secrets" for service in ("intake", "provisioning", "notification")),
}


@pytest.fixture(params=manifests.OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_file_is_part_of_something() -> None:
    for folder in ("base", "overlays/dev", "overlays/production"):
        root = manifests.KUBERNETES / folder
        kustomization = manifests.load(root / "kustomization.yaml")
        named = {
            *kustomization.get("resources", []),
            *(patch["path"] for patch in kustomization.get("patches", []) if "path" in patch),
            *(
                file.rpartition("=")[2]
                for generator in kustomization.get("configMapGenerator", [])
                for file in generator["files"]
            ),
        }
        there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {"kustomization.yaml"}
        assert there == {name for name in named if not name.startswith("..")}
        assert all((root / name).exists() for name in named)


def test_every_part_of_the_platform_is_there(overlay: str) -> None:
    made = {(one["kind"], one["metadata"]["name"]) for one in manifests.objects(overlay)}
    for service in SERVICES:
        assert {(kind, service) for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget")} <= made
    assert {("StatefulSet", "nats"), ("Service", "nats"), ("Job", "streams")} <= made
    assert not manifests.of_kind(overlay, "Secret")


def test_everything_lives_in_the_namespace(overlay: str) -> None:
    for one in manifests.objects(overlay):
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == "entresol", one["metadata"]["name"]


def test_what_pods_refer_to_exists(overlay: str) -> None:
    names = {(one["kind"], one["metadata"]["name"]) for one in manifests.objects(overlay)}
    for name, _, spec in manifests.pod_specs(overlay):
        assert ("ServiceAccount", spec["serviceAccountName"]) in names, name
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        for one in manifests.of_kind(overlay, "StatefulSet"):
            if one["metadata"]["name"] == name:
                volumes |= {claim["metadata"]["name"] for claim in one["spec"]["volumeClaimTemplates"]}
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
            if "secret" in volume:
                assert volume["secret"]["secretName"] in MADE_BY_HAND
        for container in spec["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes, name
            for variable in container.get("env", []):
                source = variable.get("valueFrom", {})
                assert source.get("secretKeyRef", {"name": "entresol-nats"})["name"] in MADE_BY_HAND


def test_secrets_that_must_be_made_are_in_the_readme() -> None:
    readme = (manifests.KUBERNETES / "README.md").read_text(encoding="utf-8")
    for name in MADE_BY_HAND:
        assert (
            name in readme
            or re.sub(r"-(intake|policy|provisioning|catalog|notification)-", "-SERVICE-", name) in readme
        )


def test_services_and_budgets_select_pods_and_name_their_ports(overlay: str) -> None:
    pods = list(manifests.pod_specs(overlay))
    for one in manifests.of_kind(overlay, "Service"):
        matching = [spec for _, labels, spec in pods if one["spec"]["selector"].items() <= labels.items()]
        assert len(matching) == 1, one["metadata"]["name"]
        ports = {port["name"] for container in matching[0]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports
    for one in manifests.of_kind(overlay, "PodDisruptionBudget"):
        wanted = one["spec"]["selector"]["matchLabels"].items()
        assert sum(wanted <= labels.items() for _, labels, _ in pods) == 1


def test_every_variable_is_one_that_the_service_reads(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, _, spec in manifests.pod_specs(overlay):
        if name == "nats":
            continue
        variables = {variable["name"]: variable for variable in spec["containers"][0]["env"]}
        fields = {f"ENTRESOL_{name}_{field}".upper() for field in manifests.settings(name).model_fields}
        assert variables.keys() <= fields, variables.keys() - fields
        for key, variable in variables.items():
            monkeypatch.setenv(key, variable.get("value", "pFilledIn"))
        assert manifests.settings(name)().nats_url == "nats://nats:4222"


def test_probes_ask_for_paths_and_ports_that_exist(overlay: str) -> None:
    for name, _, spec in manifests.pod_specs(overlay):
        (container,) = spec["containers"]
        probes = [container[kind] for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container]
        assert len(probes) == (0 if name == "streams" else 3)
        paths = {"/health/live", "/health/ready"} if name in SERVICES else {"/healthz"}
        for probe in probes:
            assert probe["httpGet"]["path"].partition("?")[0] in paths
            assert probe["httpGet"]["port"] in {port["name"] for port in container["ports"]}


def test_the_services_answer_on_the_probed_paths() -> None:
    source = (manifests.ROOT / "libs/eventing/src/entresol_eventing/http.py").read_text(encoding="utf-8")
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert f'"{path}"' in source


def test_a_door_stays_open_while_the_bus_is_away(overlay: str) -> None:
    for name, _, spec in manifests.pod_specs(overlay):
        if name in ("intake", "catalog"):
            assert spec["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/health/live"


def test_every_pod_meets_the_restricted_profile(overlay: str) -> None:
    for name, _, spec in manifests.pod_specs(overlay):
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] >= 10000, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
        assert {kind for volume in spec.get("volumes", []) for kind in volume} <= {
            *("name", "configMap", "secret", "emptyDir", "persistentVolumeClaim")
        }, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
    for account in manifests.of_kind(overlay, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_images_are_pinned(overlay: str) -> None:
    for name, _, spec in manifests.pod_specs(overlay):
        for container in spec["containers"]:
            _, colon, tag = container["image"].partition(":")
            assert colon, name
            assert tag not in {"", "latest"}, name


def test_a_service_never_runs_twice(overlay: str) -> None:
    for one in manifests.of_kind(overlay, "Deployment"):
        assert one["spec"]["replicas"] == 1
        assert one["spec"]["strategy"] == {"type": "Recreate"}


def allowed(overlay: str, direction: str, labels: dict[str, str]) -> list[manifests.Object]:
    """The rules of network policies that select a pod with these labels."""

    def selects(selector: manifests.Object) -> bool:
        wanted = selector.get("matchLabels", {}).items() <= labels.items()
        return wanted and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))

    return [
        rule
        for policy in manifests.of_kind(overlay, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"])
        for rule in policy["spec"].get(direction, [])
    ]


def test_nothing_may_talk_unless_it_is_said(overlay: str) -> None:
    (deny,) = [one for one in manifests.of_kind(overlay, "NetworkPolicy") if one["metadata"]["name"] == "default-deny"]
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_flows_that_are_needed_are_allowed_and_no_others(overlay: str) -> None:
    for name, labels, _ in manifests.pod_specs(overlay):
        reached = {port["port"] for rule in allowed(overlay, "egress", labels) for port in rule["ports"]}
        reached -= {53}
        wanted = {6222} if name == "nats" and overlay == "production" else set() if name == "nats" else {4222}
        if name in SERVICES and overlay == "production":
            wanted |= {5432}
        if name in ("provisioning", "notification"):
            wanted |= {22, 443, 465, 587, 6443}
        assert reached == wanted, name
        open_to = {port["port"] for rule in allowed(overlay, "ingress", labels) for port in rule["ports"]}
        assert open_to == {"nats": {4222} | ({6222} if overlay == "production" else set()), "streams": set()}.get(
            name, {8080}
        )


def test_links_for_answers_are_read_by_the_keys_that_sign_them_and_lead_through_the_doors() -> None:
    mounted = {}
    for name, _, spec in manifests.pod_specs("production"):
        (container,) = spec["containers"]
        variables = {one["name"]: one.get("value") for one in container.get("env", [])}
        if (file := variables.get(f"ENTRESOL_{name.upper()}_LINK_KEY_FILE")) is None:
            continue
        folder, _, key = file.rpartition("/")
        (volume,) = [one["name"] for one in container["volumeMounts"] if one["mountPath"] == folder]
        (secret,) = [one["secret"]["secretName"] for one in spec["volumes"] if one["name"] == volume]
        mounted[name] = (secret, key)
    assert mounted == dict.fromkeys(("intake", "notification"), ("entresol-link-keys", "keys"))
    (doors,) = manifests.of_kind("production", "HTTPRoute")
    (host,) = doors["spec"]["hostnames"]
    (container,) = next(spec for name, _, spec in manifests.pod_specs("production") if name == "notification")[
        "containers"
    ]
    assert {"name": "ENTRESOL_NOTIFICATION_PUBLIC_URL", "value": f"https://{host}"} in container["env"]
    leads = {
        rule["matches"][0]["path"]["value"]: (
            rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"],
            rule["backendRefs"][0]["name"],
        )
        for rule in doors["spec"]["rules"]
    }
    assert leads["/intake/answers"] == ("/answers", "intake")


def test_policy_has_room_for_the_cell_of_heavy_expressions(overlay: str) -> None:
    cell_bytes = inspect.signature(Evaluator).parameters["memory_bytes"].default
    limits = {name: spec["containers"][0]["resources"]["limits"] for name, _, spec in manifests.pod_specs(overlay)}
    assert int(limits["policy"]["memory"].removesuffix("Gi")) * 2**30 >= 512 * 2**20 + cell_bytes


def test_production_keeps_three_copies_of_every_event() -> None:
    (nats,) = manifests.of_kind("production", "StatefulSet")
    assert nats["spec"]["replicas"] == 3
    (streams,) = manifests.of_kind("production", "Job")
    variables = {one["name"]: one.get("value") for one in streams["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert variables["ENTRESOL_STREAMS_REPLICAS"] == "3"
    (routes,) = [
        one["value"] for one in nats["spec"]["template"]["spec"]["containers"][0]["env"] if one["name"] == "NATS_ROUTES"
    ]
    assert all(f"nats-{index}.nats-nodes:6222" in routes for index in range(3))


def test_the_log_fits_on_its_disk() -> None:
    for overlay, config in (("dev", "base/nats/nats.conf"), ("production", "overlays/production/nats-cluster.conf")):
        (nats,) = manifests.of_kind(overlay, "StatefulSet")
        disk = nats["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
        (job,) = manifests.of_kind(overlay, "Job")
        variables = {one["name"]: one.get("value") for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        text = (manifests.KUBERNETES / config).read_text(encoding="utf-8")
        (store,) = re.findall(r"max_file_store: (\d+)GB", text)
        assert int(variables["ENTRESOL_STREAMS_MAX_BYTES"]) < int(disk.removesuffix("Gi")) * 2**30
        assert int(variables["ENTRESOL_STREAMS_MAX_BYTES"]) < int(store) * 10**9
