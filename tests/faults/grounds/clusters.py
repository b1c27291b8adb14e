"""A cluster: the stand-in for one, and what it was asked to write."""

from collections import Counter
from typing import Any, Self

from services.provisioning.tests.kubernetes_api import Api
from services.provisioning.tests.kubernetes_places import config_map
from tests.faults.grounds.ground import STEPS, Effects, Ground, destination


class Cluster(Ground):
    """The stand-in for a cluster: what it was asked to write is the ledger."""

    driver = "kubernetes"

    def __post_init__(self) -> None:
        self.settings |= {"KUBERNETES_INSECURE": "true"}
        self.documents.append(destination({"cluster": {"kubeconfig": "env:STAND_IN"}}))

    async def __aenter__(self) -> Self:
        self.cluster = self._open.enter_context(Api())
        self.environment["STAND_IN"] = self.cluster.kubeconfig()
        return self

    def with_(self, step: str) -> dict[str, Any]:
        return {"destination": "here", "objects": [config_map(f"${{request.name}}.{step}", size="${inputs.size}")]}

    def effects(self) -> Effects:
        return Counter(
            f"destroy {_named(one.path)}"
            if one.method == "DELETE"
            else f"apply {_named(one.path)} {one.body['data']['size']}"
            for one in list(self.cluster.writes)
        )

    def standing(self, name: str) -> dict[str, str]:
        objects = {key[2]: one for key, one in list(self.cluster.objects.items()) if key[0] == "configmaps"}
        there = {step: objects.get(f"{name}.{step}") for step in STEPS}
        return {step: one["data"]["size"] for step, one in there.items() if one is not None}


def _named(path: str) -> str:
    return path.rpartition("/")[2].replace(".", "/")
