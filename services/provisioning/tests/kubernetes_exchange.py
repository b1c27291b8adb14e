"""One step's whole life as a real API server answered it: recorded here, replayed by test_kubernetes_exchange.

`python -m services.provisioning.tests.kubernetes_exchange` records it anew from the cluster of KUBECONFIG. It holds no
login: only methods, paths, queries, content types and bodies.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
from entresol_provisioning.conformance import later, make_work
from entresol_provisioning.drivers import StepFailed, StepSuspended, StepWork
from entresol_provisioning.drivers.kubernetes import Kubernetes, kubeconfig
from entresol_provisioning.drivers.kubernetes.api import Cluster
from entresol_provisioning.drivers.kubernetes.objects import Identity
from entresol_provisioning.settings import Settings

from services.provisioning.tests.kubernetes_api import MERGE
from services.provisioning.tests.kubernetes_places import deployment

PLACE = Path(__file__).with_name("kubernetes_exchange.json")
NAMESPACE = "entresol-exchange"
WEB = f"apps/v1/Deployment/{NAMESPACE}/web"


async def journey(
    driver: Kubernetes,
    reference: str,
    meddle: Callable[[], Awaitable[None]],
    pause: Callable[[], Awaitable[None]],
) -> list[Any]:
    """What a step says of itself from its plan to its proof of absence; somebody meddles once in between."""

    def wants(replicas: int) -> StepWork:
        with_ = {"destination": "here", "namespace": NAMESPACE, "objects": [deployment("web", replicas)], "wait": False}
        return make_work(destination={"cluster": {"kubeconfig": reference}}, with_=with_)

    async def destroyed(work: StepWork) -> list[str]:
        waits: list[str] = []
        while True:
            try:
                result = await driver.destroy(work)
            except StepSuspended as suspended:
                waits.append(suspended.reason)
                work = replace(work, memory=suspended.memory, attempted=True)
                await pause()
            else:
                return [*waits[:1], str(result.message)]

    work = wants(2)
    said: list[Any] = [(await driver.observe(work)).exists, (await driver.plan(work)).summary]
    result = await driver.apply(work)
    said.append(result.message)
    said.append((await driver.observe(later(work, 2, previous=result.outputs))).differences)
    await meddle()
    said.append([one.path for one in (await driver.observe(later(work, 2, previous=result.outputs))).differences])
    other = later(wants(4), 3, previous=result.outputs)
    try:
        await driver.apply(other)
    except StepFailed as failure:
        said.append(failure.reason)
    forced = replace(other, with_={**other.with_, "force": True})
    said.append((await driver.plan(forced)).summary)
    said.append((await driver.apply(forced)).message)
    gone = later(forced, 4, previous=result.outputs, destroys=True)
    said.append(await destroyed(gone))
    said.append((await driver.observe(gone)).exists)
    return said


async def record() -> None:
    reference = f"file:{os.environ['KUBECONFIG']}"
    exchange: list[dict[str, Any]] = []

    async def note(response: httpx2.Response) -> None:
        await response.aread()
        request = response.request
        exchange.append(
            {
                "method": request.method,
                "path": request.url.path,
                "query": dict(request.url.params),
                "content_type": request.headers.get("Content-Type"),
                "body": json.loads(request.content) if request.content else None,
                "status": response.status_code,
                "answer": response.json(),
            }
        )

    with tempfile.TemporaryDirectory() as data:
        settings = Settings(data=Path(data), kubeconfig_files=True, kubeconfig_exec=True, kubernetes_insecure=True)
        somebody = Cluster(*kubeconfig.chosen(*kubeconfig.text_of(reference), None, settings), 30.0)
        space = Identity("v1", "Namespace", None, NAMESPACE)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        made = await somebody.apply(space, manifest, manager="tests", force=False, dry_run=False)
        driver = Kubernetes(settings)
        watched = make_work(destination={"cluster": {"kubeconfig": reference}})
        (await driver._cluster(watched))._client.event_hooks = {"response": [note]}

        async def meddle() -> None:
            path = f"apis/apps/v1/namespaces/{NAMESPACE}/deployments/web"
            await somebody._ask("PATCH", path, {"fieldManager": "somebody"}, {"spec": {"replicas": 3}}, MERGE)

        said = await journey(driver, reference, meddle, lambda: asyncio.sleep(3))
        await somebody.delete(space, made["metadata"]["uid"])
        version = (await somebody._ask("GET", "version"))["gitVersion"]
        await driver.close()
        await somebody.close()
    document = {"server": version, "said": json.loads(json.dumps(said, default=str)), "exchange": exchange}
    await asyncio.to_thread(PLACE.write_text, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(record())
