"""A step that calls an API, with the service killed at a place that has a name: the API's ledger has one effect."""

from collections.abc import Callable
from typing import Any

import pytest
from entresol_eventing.envelope import decode
from entresol_eventing.log import connect
from entresol_provisioning.settings import Settings

from services.provisioning.tests.http_api import fake_api
from services.provisioning.tests.killed import killed_at
from services.provisioning.tests.test_planned_crashes import ENDS, kind

OTHER_POINTS = ["commit.before@2", "commit.after@2", "effect.before", "effect.after", "commit.before@3"]
POINTS = ["effect.middle", *(pytest.param(one, marks=pytest.mark.long) for one in OTHER_POINTS)]


def step(url: str) -> dict[str, Any]:
    return {
        "name": "thing",
        "driver": "http",
        "with": {
            "url": url,
            "apply": {"path": "/v1/things", "body": {"name": "${request.name}", "size": "small"}},
            "read": {"path": ["v1", "things", "${request.name}"]},
            "desired": {"size": "small"},
            "outputs": {"id": "response.body.id"},
        },
    }


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_anywhere_makes_the_thing_once(
    connected: Settings,
    voice: Callable[..., Any],
    offering: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    monkeypatch.setenv("ENTRESOL_PROVISIONING_HTTP_ALLOW_LOOPBACK", "true")
    connection = await connect(connected, "intake", "test")
    async with fake_api() as api:
        said: dict[str, Any] = {}
        with killed_at(point, connected) as service:
            heard = await connection.jetstream().subscribe("entresol.provisioning.run.>", ordered_consumer=True)
            platform = voice(connection)
            await platform.apply(offering(actions={"create": {"steps": [step(api.url)]}}))
            await platform.ask(inputs={"size": "small"})
            while not (service.crashed and ENDS & set(map(kind, said.values()))):
                service.look()
                try:
                    message = await heard.next_msg(timeout=0.1)
                except TimeoutError:
                    continue
                event = decode(message.data)
                said[event.id] = event
        await connection.close()
        (ended,) = (one for one in said.values() if kind(one) in ENDS)
        assert kind(ended) == "RunSucceeded"
        assert [one[:2] for one in api.effects] == [("POST", "/v1/things")]
