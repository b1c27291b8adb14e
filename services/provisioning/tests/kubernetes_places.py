"""Where the kubernetes driver is tried: on the stand-in always, and on the cluster of KUBECONFIG if it is set."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from entresol_provisioning.conformance import make_work
from entresol_provisioning.drivers import StepWork
from entresol_provisioning.drivers.kubernetes import Kubernetes, kubeconfig
from entresol_provisioning.drivers.kubernetes.api import Cluster, _path
from entresol_provisioning.drivers.kubernetes.objects import Identity
from entresol_provisioning.settings import Settings

from services.provisioning.tests.kubernetes_api import MERGE, Api

KUBECONFIG = os.environ.get("KUBECONFIG", "")
PLACES = ["stand-in", *(["cluster"] if KUBECONFIG else [])]


@dataclass
class Place:
    """A namespace in a cluster, the driver, and somebody else who has rights there too."""

    driver: Kubernetes
    cluster: Cluster
    namespace: str
    reference: str
    api: Api | None

    def work(self, *objects: dict[str, Any], **with_: Any) -> StepWork:
        return make_work(
            destination={"cluster": {"kubeconfig": self.reference}},
            with_={"destination": "here", "namespace": self.namespace, "objects": list(objects), **with_},
        )

    def called(self, kind: str, name: str, api_version: str = "v1") -> Identity:
        return Identity(api_version, kind, self.namespace, name)

    async def live(self, kind: str, name: str, api_version: str = "v1") -> dict[str, Any] | None:
        return await self.cluster.get(self.called(kind, name, api_version))

    async def made(self, manifest: dict[str, Any]) -> None:
        """Somebody else applies it."""
        identity = self.called(manifest["kind"], manifest["metadata"]["name"], manifest["apiVersion"])
        await self.cluster.apply(identity, manifest, manager="somebody", force=True, dry_run=False)

    async def edited(self, identity: Identity, patch: dict[str, Any], *, status: bool = False) -> None:
        """Somebody else writes it over."""
        kind = await self.cluster.kind(identity)
        assert kind is not None
        path = _path(identity, kind) + ("/status" if status else "")
        await self.cluster._ask("PATCH", path, {"fieldManager": "somebody"}, patch, MERGE)


@asynccontextmanager
async def place(name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    trusting = settings.model_copy(
        update={"kubeconfig_files": True, "kubeconfig_exec": True, "kubernetes_insecure": True}
    )
    namespace = f"entresol-test-{secrets.token_hex(4)}"
    if name == "stand-in":
        with Api() as api:
            monkeypatch.setenv("STAND_IN", api.kubeconfig())
            async with _place("env:STAND_IN", trusting, namespace, api) as made:
                api.asked.clear()
                yield made
    else:
        async with _place(f"file:{KUBECONFIG}", trusting, namespace, None) as made:
            yield made


@asynccontextmanager
async def _place(reference: str, settings: Settings, namespace: str, api: Api | None) -> AsyncIterator[Place]:
    config, proxy = kubeconfig.chosen(*kubeconfig.text_of(reference), None, settings)
    cluster, driver = Cluster(config, proxy, 30.0), Kubernetes(settings)
    identity = Identity("v1", "Namespace", None, namespace)
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    made = await cluster.apply(identity, manifest, manager="tests", force=False, dry_run=False)
    try:
        yield Place(driver, cluster, namespace, reference, api)
    finally:
        await cluster.delete(identity, made["metadata"]["uid"])
        await driver.close()
        await cluster.close()


def config_map(name: str, **values: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": values}


def secret(name: str, **texts: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts}


def pod(name: str) -> dict[str, Any]:
    """One that nobody starts, so that its status is what the test writes."""
    spec = {"schedulerName": "nobody", "containers": [{"name": "app", "image": "registry.invalid/app:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def deployment(name: str, replicas: int | None = 2, image: str = "registry.invalid/app:1") -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}}
    spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
