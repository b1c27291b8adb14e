"""The whole service with a kubernetes step, killed at a place that has a name: what the cluster was told, it was told
once. The cluster is the stand-in; what it was asked is the ledger.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from entresol_contracts.events import RunPlanned
from entresol_eventing.envelope import decode
from entresol_eventing.log import connect
from entresol_provisioning.settings import Settings

from services.provisioning.tests.killed import killed_at
from services.provisioning.tests.kubernetes_api import Api
from services.provisioning.tests.kubernetes_places import config_map, secret

ENDS = {"RunSucceeded", "RunFailed"}
DESTINATION = {
    "apiVersion": "entresol.dev/v1",
    "kind": "Destination",
    "metadata": {"name": "here"},
    "spec": {"cluster": {"kubeconfig": "env:STAND_IN"}},
}
STEP = {
    "name": "step",
    "driver": "kubernetes",
    "with": {
        "destination": "here",
        "objects": [config_map("a", size="1"), secret("b", password="canary-${inputs.size}")],
    },
}
OTHER_POINTS = [
    *(f"commit.before@{visit}" for visit in range(1, 6)),
    *("commit.after@3", "publish.before@2", "publish.after@1"),
    *("effect.before", "effect.middle@2", "effect.after"),
]
POINTS = ["effect.middle@1", *(pytest.param(one, marks=pytest.mark.long) for one in OTHER_POINTS)]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with Api() as made:
        monkeypatch.setenv("STAND_IN", made.kubeconfig())
        monkeypatch.setenv("ENTRESOL_PROVISIONING_KUBERNETES_INSECURE", "true")
        yield made


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_anywhere_leads_to_the_same_end_and_to_no_second_effect(
    connected: Settings, voice: Callable[..., Any], offering: Callable[..., Any], api: Api, point: str
) -> None:
    connection = await connect(connected, "intake", "test")
    said: dict[str, Any] = {}
    raw = b""
    with killed_at(point, connected) as service:
        heard = await connection.jetstream().subscribe("entresol.provisioning.run.>", ordered_consumer=True)
        platform = voice(connection)
        await platform.apply(DESTINATION)
        await platform.apply(offering(actions={"create": {"steps": [STEP]}}))
        request_id = await platform.want_plan(inputs={"size": "small"})
        while not (service.crashed and ENDS & set(map(kind, said.values()))):
            service.look()
            try:
                message = await heard.next_msg(timeout=0.1)
            except TimeoutError:
                continue
            event = decode(message.data)
            raw += message.data
            if event.id not in said and isinstance(event.data, RunPlanned):
                await platform.allow(request_id, event.data.digest)
            said[event.id] = event
    await connection.close()
    assert list(map(kind, said.values())) == ["RunPlanned", "RunStarted", "RunProgressed", "RunSucceeded"]
    assert [(one.method, one.path.rpartition("/")[2]) for one in api.writes] == [("PATCH", "a"), ("PATCH", "b")]
    assert b"canary" not in raw


def kind(event: Any) -> str:
    return type(event.data).__name__
