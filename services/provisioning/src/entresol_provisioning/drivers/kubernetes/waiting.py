"""Wait until what was applied is healthy, what was pruned is gone, and the outputs are there. Never by sleeping."""

from collections.abc import Collection, Mapping
from typing import Any

from entresol_provisioning.drivers import StepFailed, StepResult
from entresol_provisioning.drivers.kubernetes import removal
from entresol_provisioning.drivers.kubernetes.health import HEALTHY, WORKLOADS, Health, judge, judge_pods
from entresol_provisioning.drivers.kubernetes.looking import Task, each
from entresol_provisioning.drivers.kubernetes.marks import noted
from entresol_provisioning.drivers.kubernetes.objects import Identity, Wanted

NOTICE_SECONDS = 30.0
"""How long a controller may take to write the first status of an object before there is taken to be none."""


async def finish(task: Task, patience_seconds: float) -> StepResult:
    """What `apply` gives, once all is well. Raises StepSuspended until then, StepFailed if it can't become so."""
    lives = await _lives(task)
    if task.wishes.wait:
        await _healthy(task, lives, patience_seconds)
        await removal.gone(task, await removal.no_longer_wanted(task))
    values, missing = outputs(task, lives)
    if missing and task.wishes.wait:
        raise task.suspended(f"there is no value yet for the output {missing[0]}")
    if missing:
        raise StepFailed(f"there is no value for the output {missing[0]}; set with.wait, or leave it out")
    return StepResult({"objects": listed(task, lives), **values}, task.work.memory.get("message"))


def listed(
    task: Task, lives: Mapping[Identity, Mapping[str, Any]], adopted: Collection[Identity] = ()
) -> list[dict[str, Any]]:
    """The step's books: its objects, and those that it no longer wants but was told to leave."""
    found = [noted(one, live["metadata"]["uid"], adopted=one in adopted) for one, live in lives.items()]
    if not task.wishes.prune:
        wanted = {identity.lasting for identity in lives}
        left = [entry for lasting, entry in task.books.items() if lasting not in wanted]
        found += [noted(entry.identity, entry.uid, adopted=entry.adopted) for entry in left]
    return found


def outputs(task: Task, lives: Mapping[Identity, Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The declared outputs that have a value, and the names of those that have none yet."""
    values: dict[str, Any] = {}
    missing = []
    for one in task.wishes.outputs:
        there, value = one.of(lives, task.wishes.namespace)
        if there:
            values[one.name] = value
        else:
            missing.append(one.name)
    return values, missing


async def _lives(task: Task) -> dict[Identity, dict[str, Any]]:
    async def live(one: Wanted) -> dict[str, Any]:
        found = await task.cluster.get(one.identity)
        if found is None:
            raise StepFailed(f"{one.identity.address} was applied and is no longer there", retryable=True)
        return found

    found = await each(task.wanted, live)
    return {one.identity: live for one, live in zip(task.wanted, found, strict=True)}


async def _healthy(task: Task, lives: Mapping[Identity, Mapping[str, Any]], patience_seconds: float) -> None:
    judged = [(identity, await _judge(task, identity, live)) for identity, live in lives.items()]
    waited = task.waited_seconds
    waits = None
    for identity, health in judged:
        lost = health.state == "stuck" and waited >= patience_seconds
        if health.state == "hopeless" or lost:
            raise StepFailed(f"{identity.address}: {health.reason}")
        settled = health.state == "healthy" or (health.state == "unnoticed" and waited >= NOTICE_SECONDS)
        if not settled and waits is None:
            waits = f"{identity.address}: {health.reason}"
    if waits is not None:
        raise task.suspended(waits)


async def _judge(task: Task, identity: Identity, live: Mapping[str, Any]) -> Health:
    kind = await task.cluster.kind(identity)
    health = judge(live, has_status=kind is not None and kind.has_status)
    selector = (live.get("spec") or {}).get("selector")
    if health.state != "waiting" or identity.kind not in WORKLOADS or not isinstance(selector, Mapping):
        return health
    labels = selector.get("matchLabels")
    if not labels or identity.namespace is None:
        return health
    pods = judge_pods(await task.cluster.pods(identity.namespace, labels))
    return health if pods == HEALTHY else pods
