"""Three nats-servers as one cluster: leaders are killed, nodes restarted in turn, and one is lost for good."""

import asyncio
import shutil
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import nats.errors
from entresol_eventing.log import connect
from entresol_eventing.nats_server import NatsServer
from entresol_eventing.permissions import EVENTS, SERVICES
from entresol_eventing.settings import RuntimeSettings
from entresol_eventing.streams import bootstrap
from entresol_eventing.testing import eventually, running
from nats.js.client import JetStreamContext
from nats.js.errors import Error as JetStreamError

from tests.faults.tally import Tally, Teller, caught_up, handled, judge, load, log_kept, settings
from tests.faults.trials import SQLITE, Evidence, Proof, Trial
from tests.fleet import free_port

NODES = 3
WAITED_SECONDS = 120.0


class Node(NatsServer):
    """One server of a cluster. With an empty disk it is a new one in an old one's place."""

    def __init__(self, data: Path, name: str, passwords: Mapping[str, str], routes: list[int], own: int) -> None:
        super().__init__(data)
        self.name = name
        self.passwords = passwords
        self._routes = routes
        self._own = own

    def _config(self) -> dict[str, Any]:
        cluster = {
            "name": "entresol",
            "listen": f"127.0.0.1:{self._own}",
            "no_advertise": True,
            "routes": [f"nats://127.0.0.1:{port}" for port in self._routes if port != self._own],
        }
        return {**super()._config(), "server_name": self.name, "cluster": cluster}

    def lose_disk(self) -> None:
        shutil.rmtree(self.data / "jetstream")


class Cluster:
    """Servers with one set of users, and three copies of each stream."""

    def __init__(self, data: Path) -> None:
        self.passwords = NatsServer(data, [*SERVICES, "admin"]).passwords
        routes = [free_port() for _ in range(NODES)]
        self.nodes = [
            Node(data / f"node-{number}", f"node-{number}", self.passwords, routes, own)
            for number, own in enumerate(routes)
        ]

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.nodes)

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            stack.pop_all()
        asyncio.run(self._make_streams())
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()

    async def _make_streams(self) -> None:
        chosen = RuntimeSettings(nats_url=self.url, nats_password=self.passwords["admin"])
        connection = await connect(chosen, "admin", "bootstrap")
        deadline = time.monotonic() + WAITED_SECONDS
        while True:
            try:
                await bootstrap(connection, replicas=NODES)
                break
            except (nats.errors.Error, JetStreamError):  # there is no leader yet
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
        await connection.close()

    async def leader(self, streams: JetStreamContext) -> Node:
        """The node that decides what the log holds."""
        name = await eventually(lambda: self._leader(streams), seconds=WAITED_SECONDS)
        return next(node for node in self.nodes if node.name == name)

    async def whole(self, streams: JetStreamContext) -> None:
        """Return when every node has everything."""
        await eventually(lambda: self._whole(streams), seconds=WAITED_SECONDS)

    async def _leader(self, streams: JetStreamContext) -> str | None:
        try:
            cluster = (await streams.stream_info(EVENTS)).cluster
        except (nats.errors.Error, JetStreamError):
            return None
        return cluster.leader if cluster else None

    async def _whole(self, streams: JetStreamContext) -> bool:
        try:
            cluster = (await streams.stream_info(EVENTS)).cluster
        except (nats.errors.Error, JetStreamError):
            return False
        replicas = (cluster.replicas if cluster else None) or []
        return len(replicas) == NODES - 1 and all(one.current and not one.offline for one in replicas)


def survive_lost_nodes(trial: Trial) -> Evidence:
    with log_kept(trial), Cluster(trial.scratch / "cluster") as cluster:
        return asyncio.run(_survive(trial, cluster))


async def _survive(trial: Trial, cluster: Cluster) -> Evidence:
    kills, rolls, losses = ((1, 0, 0), (2, 1, 1), (50, 10, 5))[trial.scale]
    teller, stalls = Teller(), [0.0]

    def chosen(name: str, service: str) -> RuntimeSettings:
        return settings(trial, name, cluster.url, nats_password=cluster.passwords[service])

    async with AsyncExitStack() as stack:
        admin = RuntimeSettings(nats_url=cluster.url, nats_password=cluster.passwords["admin"])
        connection = await connect(admin, "admin", "proof")
        stack.push_async_callback(connection.close)
        streams = connection.jetstream(timeout=5)
        telling = teller.service(chosen("teller", "intake"))
        tally = Tally("policy").service(chosen("tally", "policy"))
        for service in (telling, tally):
            await stack.enter_async_context(running(service, ready_seconds=WAITED_SECONDS))
        stopping = asyncio.Event()
        loading = asyncio.create_task(load(teller, telling, stopping, count=10, seconds=0.05))

        async def stall() -> None:
            """Note how long it takes until something that was told from now on is handled."""
            began, before = time.monotonic(), teller.told.total()

            async def goes_on() -> bool:
                return len(await handled(tally)) > before

            await eventually(goes_on, seconds=WAITED_SECONDS)
            stalls.append(time.monotonic() - began)

        for number in range(kills):
            leader = await cluster.leader(streams)
            await asyncio.to_thread(leader.kill)
            await stall()
            await asyncio.to_thread(leader.start)
            await cluster.whole(streams)
            trial.say(f"leader {number + 1} of {kills} killed, stalled for {stalls[-1]:.1f} s")
        for _ in range(rolls):
            for node in cluster.nodes:
                await asyncio.to_thread(node.stop)
                await asyncio.to_thread(node.start)
                await stall()
                await cluster.whole(streams)
        for _ in range(losses):
            lost = trial.dice.choice(cluster.nodes)
            await asyncio.to_thread(lost.kill)
            lost.lose_disk()
            await stall()
            await asyncio.to_thread(lost.start)
            await cluster.whole(streams)
        stopping.set()
        await loading
        await caught_up(teller.told, tally)
        again = Tally("catalog").service(chosen("again", "catalog"))
        await stack.enter_async_context(running(again, ready_seconds=WAITED_SECONDS))
        await caught_up(teller.told, again)
        found = judge(teller.told, await handled(tally))
        kept = judge(teller.told, await handled(again))
    counts = {
        "leader kills": kills,
        "restarts in turn": rolls * NODES,
        "nodes lost and replaced": losses,
        "events": teller.told.total(),
        "lost": len(found.lost) + len(kept.lost),
        "handled twice": len(found.double) + len(kept.double),
        "out of order": len(found.inverted) + len(kept.inverted),
    }
    breaches = [*found.breaches("the tally"), *kept.breaches("who reads the log afterwards")]
    return Evidence(counts, breaches, {"longest stall": f"{max(stalls):.1f} s"})


PROOFS = (Proof("G11", "three nodes: one is lost, and nothing is lost", survive_lost_nodes, databases=(SQLITE,)),)
