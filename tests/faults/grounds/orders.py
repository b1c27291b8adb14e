"""An API with books of its own, which makes again what it is asked for again."""

from collections import Counter
from typing import Any, Self

from services.provisioning.tests.http_api import Call, FakeApi, Said, fake_api
from tests.faults.grounds.ground import Effects, Ground


class Orders(Ground):
    """An API that takes every order it gets, and so repeats what is repeated; an order takes some looks to be done."""

    driver = "http"

    def __post_init__(self) -> None:
        self.settings["HTTP_ALLOW_LOOPBACK"] = "true"
        self.done: Effects = Counter()
        self.things: dict[int, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        self.api = await self._open.enter_async_context(fake_api())
        self.api.routes.append(self._answer)
        return self

    def with_(self, step: str) -> dict[str, Any]:
        thing = '"/orders/" + string(outputs.id)'
        poll = {"at": thing, "every": "50ms", "done": "response.body.looks > 1"}
        return {
            "url": self.api.url,
            "apply": {
                "path": "/orders",
                "body": {"name": f"${{request.name}}/{step}", "size": "${inputs.size}"},
                "reference": "/reference",
                "find": {
                    "path": "/orders",
                    "item": "response.body.filter(one, one.reference == reference)",
                    "within": "100ms",
                },
                "poll": poll,
            },
            "update": {"method": "PATCH", "at": thing, "body": {"size": "${inputs.size}"}, "poll": poll},
            "destroy": {"at": thing},
            "read": {"at": thing},
            "desired": {"size": "${inputs.size}"},
            "outputs": {"id": "response.body.id"},
        }

    def _answer(self, _: FakeApi, call: Call) -> Said | None:
        root, number = call.path.strip("/").partition("/")[::2]
        if root != "orders":
            return None
        if call.method == "POST":
            order: dict[str, Any] = {**call.body, "id": len(self.things) + 1, "looks": 0, "gone": False}
            self.things[order["id"]] = order
            self.done[f"apply {order['name']} {order['size']}"] += 1
            return 201, order
        if not number:
            return 200, [one for one in self.things.values() if not one["gone"]]
        thing = self.things.get(int(number), {"gone": True})
        if call.method == "DELETE":
            self.done[f"destroy {thing.get('name', number)}"] += 1
        if thing["gone"]:
            return 404, {"message": "no such order"}
        if call.method == "GET":
            thing["looks"] += 1
        elif call.method == "PATCH":
            thing |= {**call.body, "looks": 0}
            self.done[f"apply {thing['name']} {thing['size']}"] += 1
        else:
            thing["gone"] = True
            return 204, None
        return 200, thing

    def effects(self) -> Effects:
        return Counter(self.done)

    def standing(self, name: str) -> dict[str, str]:
        found: dict[str, list[str]] = {}
        for one in self.things.values():
            owner, _, step = one["name"].partition("/")
            if owner == name and not one["gone"]:
                found.setdefault(step, []).append(one["size"])
        return {step: "+".join(sizes) for step, sizes in found.items()}
