"""The driver itself: look, agree, apply, remove what is no longer wanted, wait until it is healthy.

- What the server would make of each object is asked for (a dry run) before the first is touched, so that what it
  refuses leaves nothing half done.
- An object that would not change is not sent, so a repeated attempt touches nothing.
- Nothing is taken over that was there before, unless it was adopted or the offering forces it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from entresol_eventing.failpoints import failpoint

from entresol_provisioning.drivers import (
    Difference,
    Observation,
    Plan,
    StepFailed,
    StepResult,
    StepWork,
    Touched,
    workspaces,
)
from entresol_provisioning.drivers.contracts import contract
from entresol_provisioning.drivers.kubernetes import differences, kubeconfig, objects, removal, waiting, wishes
from entresol_provisioning.drivers.kubernetes.api import Cluster
from entresol_provisioning.drivers.kubernetes.looking import Seen, Task, each, look, place, unplaced
from entresol_provisioning.drivers.kubernetes.marks import Marks, books, owner_of
from entresol_provisioning.drivers.kubernetes.objects import Wanted
from entresol_provisioning.drivers.kubernetes.refusals import Refused
from entresol_provisioning.drivers.kubernetes.wishes import Spec, Wishes
from entresol_provisioning.rendering import Renderer, RenderFailed
from entresol_provisioning.settings import Settings

_MOST_CLUSTERS = 32


class Kubernetes:
    name = "kubernetes"
    contract = contract(Spec)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._renderer = Renderer(settings.render_seconds)
        self._clusters: dict[bytes, Cluster] = {}

    def available(self) -> bool:
        return True

    async def close(self) -> None:
        await self._renderer.close()
        clusters, self._clusters = self._clusters, {}
        for one in clusters.values():
            await one.close()

    async def plan(self, work: StepWork) -> Plan:
        async with self._task(work, destroys=work.destroys) as task:
            if work.destroys:
                return removal.plan(await removal.found(task), self._removal_digest(task))
            seen = await look(task, force=task.wishes.force)
            leaving = await removal.no_longer_wanted(task)
            added = [one for one in seen if one.change == "add"]
            changed = [one for one in seen if one.change == "change"]
            return Plan(
                digest=self._digest(task, seen),
                adds=len(added),
                changes=len(changed),
                destroys=len(leaving),
                summary=(
                    *(f"+ {one.address}" for one in added),
                    *(f"~ {one.address}: {', '.join(one.pointers)}"[:1000] for one in changed),
                    *(f"- {one.identity.address}" for one in leaving),
                ),
                resources=(
                    *(Touched(one.address, "add", one.wanted.identity.kind) for one in added),
                    *(Touched(one.address, "change", one.wanted.identity.kind) for one in changed),
                    *(Touched(one.identity.address, "destroy", one.identity.kind) for one in leaving),
                ),
            )

    async def apply(self, work: StepWork) -> StepResult:
        async with self._task(work, destroys=False) as task:
            if work.memory.get("applied") is not True:
                message = await self._bring_about(task)
                task = task.remembering(applied=True, message=message)
            return await waiting.finish(task, self._settings.kubernetes_patience_seconds)

    async def destroy(self, work: StepWork) -> StepResult:
        async with self._task(work, destroys=True) as task:
            found = await removal.found(task)
            if found or not work.attempted:
                work.hold_to(self._removal_digest(task))
            kept = await removal.kept(task)
            count = max(len(found), int(work.memory.get("removing", 0)))
            await removal.remove(task.remembering(removing=count), found)
            return StepResult(message=f"{count} removed" if count else "nothing there", kept=kept)

    async def observe(self, work: StepWork) -> Observation:
        async with self._task(work, destroys=work.destroys, strict=False) as task:
            if work.destroys:
                return Observation(exists=bool(await removal.found(task)))
            return await _observed(task)

    async def _bring_about(self, task: Task) -> str:
        """Apply what differs and ask for the removal of what is no longer wanted; return what was done."""
        work = task.work
        seen = await look(task, force=task.wishes.force)
        begun = work.attempted and any(one.live is not None and task.marks.begun(one.live) for one in seen)
        if not begun and (work.approved is None or work.memory.get("agreed") != work.approved):
            work.hold_to(self._digest(task, seen))
        task = task.remembering(agreed=work.approved)
        counts = {"add": 0, "change": 0}
        for one in seen:
            if one.change is None:
                continue
            if one.leaving:
                raise task.suspended(f"{one.address} is being removed; it is made anew when it is gone")
            if await task.cluster.kind(one.wanted.identity) is None:
                raise task.suspended(f"{one.address} waits for its kind, which was defined just now")
            failpoint("effect.middle")
            await task.cluster.apply(
                one.wanted.identity,
                task.marks.put_on(one.wanted, passing=True),
                manager=task.marks.manager,
                force=task.wishes.force,
                dry_run=False,
            )
            counts[one.change] += 1
        leaving = await removal.no_longer_wanted(task)
        await removal.ask_for(task, leaving)
        return f"{counts['add']} added, {counts['change']} changed, {len(leaving)} removed"

    def _digest(self, task: Task, seen: list[Seen]) -> str:
        """Over what would change, from what to what.

        What is to be removed counts by name, whether it is there or not: an attempt that was cut off in the middle of
        removing must not find another plan.
        """
        key = workspaces.digest_key(self._settings.workspaces)
        changes = [(one.address, one.digested(task.marks)) for one in seen if one.change is not None]
        gone = [one.identity.address for one in removal.unwanted(task)]
        return differences.digest(key, task.cluster.server, changes, gone)

    def _removal_digest(self, task: Task) -> str:
        key = workspaces.digest_key(self._settings.workspaces)
        return differences.digest(key, task.cluster.server, [], removal.digested(task))

    @asynccontextmanager
    async def _task(self, work: StepWork, *, destroys: bool, strict: bool = True) -> AsyncIterator[Task]:
        """All that was found out before anything is done. What the cluster refuses meanwhile is told as a failure."""
        wished = wishes.read(work)
        wanted = await self._wanted(work, wished, destroys=destroys)
        if not destroys:
            wished.check(wanted)
        secrets = objects.secrets_of(wanted)
        try:
            cluster = await self._cluster(work)
            task = Task(work, wished, cluster, Marks(work), books(work.previous), objects.in_order(wanted))
            yield await (place(task) if strict and not destroys else unplaced(task))
        except Refused as error:
            raise error.told(secrets) from None

    async def _wanted(self, work: StepWork, wished: Wishes, *, destroys: bool) -> list[Wanted]:
        """The objects as the step names them. For a destroy, none if that can't be told: values may be gone."""
        try:
            return await self._rendered(work, wished)
        except StepFailed:
            if destroys:
                return []
            raise

    async def _rendered(self, work: StepWork, wished: Wishes) -> list[Wanted]:
        if wished.files is None:
            return objects.from_list(wished.objects or ())
        try:
            rendered = await self._renderer.render(wished.files, work.scope)
        except RenderFailed as error:
            raise StepFailed(str(error), unknown=error.unknown) from None
        return await asyncio.to_thread(objects.from_files, rendered)

    async def _cluster(self, work: StepWork) -> Cluster:
        """The connection of the Destination, kept as long as its kubeconfig stays the same."""
        spec = (work.destination or {})["cluster"]
        text, path = kubeconfig.text_of(str(spec.get("kubeconfig")))
        key = hashlib.sha256(f"{path}\n{spec.get('context')}\n{text}".encode()).digest()
        cluster = self._clusters.pop(key, None)
        if cluster is None:
            config, proxy = kubeconfig.chosen(text, path, spec.get("context"), self._settings)
            cluster = Cluster(config, proxy, self._settings.kubernetes_seconds)
        self._clusters[key] = cluster
        if len(self._clusters) > _MOST_CLUSTERS:
            await self._clusters.pop(next(iter(self._clusters))).close()
        return cluster


async def _observed(task: Task) -> Observation:
    """Nothing is forced upon anybody by looking: the dry run is, so that it shows what others have changed."""
    found: list[Difference] = []
    lives: dict[objects.Identity, dict[str, Any]] = {}
    adopted: set[objects.Identity] = set()

    async def compare(one: Wanted) -> list[Difference]:
        address = one.identity.address
        live = await task.cluster.get(one.identity)
        if live is None:
            return [Difference(address, "removed")]
        whose = task.marks.of(live)
        if whose == "theirs" and task.work.adopts:
            raise StepFailed(f"{address} belongs to {owner_of(live)}; it can't be adopted")
        if whose != "ours" and not task.work.adopts and task.entry(one.identity, live) is None:
            return [Difference(address, "changed")]
        lives[one.identity] = live
        if whose == "nobody's" and (task.work.adopts or task.adopted(one.identity, live)):
            adopted.add(one.identity)
        if live["metadata"].get("deletionTimestamp"):
            return [Difference(address, "removed")]
        try:
            desired = await task.dry_run(one, force=True)
        except Refused as error:
            if error.status != 422:
                raise
            return [Difference(f"{address}#{pointer}", "changed") for pointer in error.fields or [""]]
        # Of what was adopted, nothing was changed: that it bears no marks is as it should be.
        unmarked = task.work.adopts or task.adopted(one.identity, live)
        fields = differences.between(live, differences.unmarked(desired) if unmarked else desired)
        return [Difference(f"{address}#{field.pointer}", field.word) for field in fields]

    for told in await each(task.wanted, compare):
        found.extend(told)
    outputs: dict[str, Any] | None = None
    leaving = any(live["metadata"].get("deletionTimestamp") for live in lives.values())
    if len(lives) == len(task.wanted) and not leaving:
        values, missing = waiting.outputs(task, lives)
        outputs = (
            None
            if missing
            else {
                "objects": waiting.listed(task, {one.identity: lives[one.identity] for one in task.wanted}, adopted),
                **values,
            }
        )
    return Observation(exists=bool(lives), differences=tuple(found), outputs=outputs)
