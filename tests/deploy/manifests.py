"""Reading what is deployed: compose files, kustomize overlays, metric names, settings. Nothing here starts anything."""

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.telemetry import Telemetry
from prometheus_client.metrics import MetricWrapperBase

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose"
KUBERNETES = ROOT / "k8s"
OVERLAYS = ("dev", "production")

Object = dict[str, Any]


def load(path: Path) -> Object:
    document: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


@cache
def objects(overlay: str) -> tuple[Object, ...]:
    """What `kubectl apply -k` would send."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, so the overlays can't be built")
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return tuple(yaml.safe_load_all(built.stdout))


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    return [one for one in objects(overlay) if one["kind"] in kinds]


def pod_specs(overlay: str) -> Iterator[tuple[str, Object, Object]]:
    """(name, labels, pod spec) of everything that makes pods."""
    for one in of_kind(overlay, "Deployment", "StatefulSet", "Job"):
        template = one["spec"]["template"]
        yield one["metadata"]["name"], template["metadata"]["labels"], template["spec"]


@cache
def settings(service: str) -> type[RuntimeSettings]:
    """The class that reads the environment of a service; `streams` is the bootstrap."""
    if service == "streams":
        return _bootstrap_settings()
    found: type[RuntimeSettings] = importlib.import_module(f"entresol_{service}.settings").Settings
    return found


def _bootstrap_settings() -> type[RuntimeSettings]:
    spec = importlib.util.spec_from_file_location("bootstrap", COMPOSE / "image/bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type[RuntimeSettings] = module.Settings
    return found


def metrics() -> dict[str, set[str]]:
    """Labels by the name of each series that services export."""
    series: dict[str, set[str]] = {"up": {"job", "instance"}}
    for metric in vars(Telemetry().metrics).values():
        if not isinstance(metric, MetricWrapperBase):
            continue
        labels = {*metric._labelnames, "job", "instance"}
        for family in metric.describe():
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
            for suffix in suffixes:
                series[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return series


SELECTOR = re.compile(r"\b(up|entresol_[a-z_]+)\b(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")


def expressions() -> dict[str, str]:
    """Every PromQL expression of dashboards and alerts, by where it stands."""
    dashboard = json.loads((COMPOSE / "grafana/dashboards/entresol.json").read_text(encoding="utf-8"))
    found = {
        f"dashboard: {panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    for group in load(COMPOSE / "prometheus/alerts.yml")["groups"]:
        found |= {f"alert: {rule['alert']}": rule["expr"] for rule in group["rules"]}
    return found


def labels_of(expression: str) -> set[str]:
    """Labels that an expression selects or groups by."""
    selected = {
        matcher.split("=")[0].rstrip("!~ ").strip()
        for _, matchers in SELECTOR.findall(expression)
        for matcher in re.findall(r'\w+\s*(?:=~|!~|!=|=)\s*"[^"]*"', matchers)
    }
    grouped = {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",")}
    return selected | grouped
