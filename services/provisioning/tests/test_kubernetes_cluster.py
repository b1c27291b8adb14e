"""The kubernetes driver against a real API server: the cluster that KUBECONFIG leads to, in namespaces of its own.

Without KUBECONFIG all of this is skipped; then only the recorded exchange and the stand-in have been tried.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import Case, Conformance, make_work
from entresol_provisioning.drivers import StepWork
from entresol_provisioning.drivers.kubernetes import kubeconfig
from entresol_provisioning.drivers.kubernetes.api import Cluster
from entresol_provisioning.drivers.kubernetes.driver import Kubernetes
from entresol_provisioning.drivers.kubernetes.objects import Identity
from entresol_provisioning.settings import Settings

PLACE = os.environ.get("KUBECONFIG", "")
pytestmark = pytest.mark.skipif(
    not PLACE, reason="KUBECONFIG is not set: the kubernetes driver was tried without an API server"
)
SPEC = {"cluster": {"kubeconfig": f"file:{PLACE}"}}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Whoever runs the tests trusts the kubeconfig of their own."""
    return settings.model_copy(
        update={"kubeconfig_files": True, "kubeconfig_exec": True, "kubernetes_insecure": True}
    )


@pytest.fixture
async def cluster(settings: Settings) -> AsyncIterator[Cluster]:
    config, proxy = kubeconfig.chosen(*kubeconfig.text_of(f"file:{PLACE}"), None, settings)
    made = Cluster(config, proxy, 30.0)
    yield made
    await made.close()


@pytest.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[str]:
    name = f"entresol-test-{secrets.token_hex(4)}"
    identity = Identity("v1", "Namespace", None, name)
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    made = await cluster.apply(identity, manifest, manager="tests", force=False, dry_run=False)
    yield name
    await cluster.delete(identity, made["metadata"]["uid"])


class TestConformance(Conformance):
    @pytest.fixture
    async def case(self, settings: Settings, cluster: Cluster, namespace: str) -> AsyncIterator[Case]:
        driver = Kubernetes(settings)

        def good(size: str) -> dict[str, Any]:
            return {
                "destination": "test",
                "namespace": namespace,
                "force": True,
                "objects": [config_map("settings", size), config_map("more", "same")],
                "outputs": {"size": {"kind": "ConfigMap", "name": "settings", "pointer": "/data/size"}},
            }

        async def meddle(work: StepWork) -> None:
            identity = Identity("v1", "ConfigMap", namespace, "settings")
            other = {**config_map("settings", "another"), "extra": None}
            other.pop("extra")
            await cluster.apply(identity, other, manager="somebody", force=True, dry_run=False)

        yield Case(
            driver=driver,
            work=make_work(destination=SPEC),
            good=good,
            bad={**good("small"), "objects": [{"kind": "ConfigMap"}]},
            meddle=meddle,
        )
        await driver.close()


def config_map(name: str, size: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"size": size}}
