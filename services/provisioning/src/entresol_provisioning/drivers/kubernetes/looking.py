"""What a step finds in its cluster, and what applying would make of it. Nothing in here changes anything."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from entresol_provisioning.drivers import StepFailed, StepSuspended, StepWork
from entresol_provisioning.drivers.kubernetes import differences
from entresol_provisioning.drivers.kubernetes.api import Cluster
from entresol_provisioning.drivers.kubernetes.differences import OWNERSHIP, Field
from entresol_provisioning.drivers.kubernetes.marks import Entry, Marks, owner_of
from entresol_provisioning.drivers.kubernetes.objects import Identity, Wanted
from entresol_provisioning.drivers.kubernetes.refusals import Refused
from entresol_provisioning.drivers.kubernetes.wishes import Wishes

AT_ONCE = 8
"""Questions to a cluster at the same time, for one step."""
FIRST_SECONDS, LONGEST_SECONDS = 2.0, 15.0
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Task:
    """One call of the driver."""

    work: StepWork
    wishes: Wishes
    cluster: Cluster
    marks: Marks
    books: Mapping[tuple[str, str, str | None, str], Entry]
    wanted: Sequence[Wanted]

    def remembering(self, **more: Any) -> "Task":
        return replace(self, work=replace(self.work, memory={**self.work.memory, **more}))

    @property
    def waited_seconds(self) -> float:
        """How long was asked to be waited so far. No clock is read for it."""
        waited = self.work.memory.get("waited_seconds", 0.0)
        return float(waited) if isinstance(waited, int | float) else 0.0

    def suspended(self, reason: str) -> StepSuspended:
        """The wait for something, longer each time."""
        waited = self.waited_seconds
        seconds = min(LONGEST_SECONDS, FIRST_SECONDS + waited / 4)
        memory = {**self.work.memory, "waited_seconds": waited + seconds}
        return StepSuspended(reason, look_after_seconds=seconds, memory=memory)

    def entry(self, identity: Identity, live: Mapping[str, Any]) -> Entry | None:
        """What the books say of this very object; an object that came in its place is another one."""
        entry = self.books.get(identity.lasting)
        return entry if entry is not None and entry.uid == live["metadata"]["uid"] else None

    def adopted(self, identity: Identity, live: Mapping[str, Any]) -> bool:
        entry = self.entry(identity, live)
        return entry is not None and entry.adopted

    def removable(self, identity: Identity, live: Mapping[str, Any]) -> bool:
        whose = self.marks.of(live)
        return whose == "ours" or (whose == "nobody's" and self.adopted(identity, live))

    async def dry_run(self, one: Wanted, *, force: bool) -> dict[str, Any]:
        manifest = self.marks.put_on(one, passing=False)
        return await self.cluster.apply(one.identity, manifest, manager=self.marks.manager, force=force, dry_run=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it is, and what applying would do to it."""

    wanted: Wanted
    live: Mapping[str, Any] | None
    change: Literal["add", "change"] | None
    fields: Sequence[Field] = ()
    leaving: bool = False
    """It is being removed, so it is as good as gone, but it can't be made anew yet."""

    @property
    def address(self) -> str:
        return self.wanted.identity.address

    @property
    def pointers(self) -> list[str]:
        return [one.pointer for one in self.fields]

    def digested(self, marks: Marks) -> Any:
        if self.change == "add":
            return {"add": marks.put_on(self.wanted, passing=False)}
        return {"change": [[one.pointer, one.before, one.after] for one in self.fields]}


async def each(items: Iterable[_Item], act: Callable[[_Item], Awaitable[_Answer]]) -> list[_Answer]:
    """The answers in the order of the items. When some fail, all are awaited, and the first failure is raised."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(item: _Item) -> _Answer:
        async with free:
            return await act(item)

    answers = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    whole: list[_Answer] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        whole.append(answer)
    return whole


async def place(task: Task) -> Task:
    """The task with every object in its namespace. Raises StepFailed for a kind that the cluster hasn't.

    A kind that the step itself defines counts as one that it has.
    """
    defined = _defined(task.wanted)

    async def placed(one: Wanted) -> Wanted:
        identity = one.identity
        kind = await task.cluster.kind(identity)
        namespaced = kind.namespaced if kind is not None else defined.get((identity.api_version, identity.kind))
        if namespaced is None:
            raise StepFailed(f"{identity.address}: the cluster has no kind {identity.kind} in {identity.api_version}")
        return task.wishes.placed(one, namespaced=namespaced)

    return replace(task, wanted=await each(task.wanted, placed))


async def unplaced(task: Task) -> Task:
    """The same for looking and for a destroy, where a kind that the cluster hasn't only means that nothing is there."""

    async def placed(one: Wanted) -> Wanted:
        kind = await task.cluster.kind(one.identity)
        if kind is not None and not kind.namespaced:
            return one
        return one.within(one.identity.namespace or task.wishes.namespace)

    return replace(task, wanted=await each(task.wanted, placed))


async def look(task: Task, *, force: bool) -> list[Seen]:
    """Every object as it is and as it would be. Raises StepFailed for what may not be taken over."""
    namespaces = [one for one in task.wanted if (one.identity.group, one.identity.kind) == ("", "Namespace")]
    lives = await each(namespaces, lambda one: task.cluster.get(one.identity))
    to_come = {
        one.identity.name
        for one, live in zip(namespaces, lives, strict=True)
        if live is None or live["metadata"].get("deletionTimestamp")
    }

    async def seen(one: Wanted) -> Seen:
        identity = one.identity
        if identity.namespace in to_come or await task.cluster.kind(identity) is None:
            return Seen(one, None, "add")
        live = await task.cluster.get(identity)
        if live is None:
            await task.dry_run(one, force=force)
            return Seen(one, None, "add")
        if live["metadata"].get("deletionTimestamp"):
            return Seen(one, None, "add", leaving=True)
        _may_be_applied(task, identity, live)
        try:
            desired = await task.dry_run(one, force=force)
        except Refused as error:
            if error.status == 404:
                return Seen(one, None, "add")
            raise
        fields = differences.between(live, desired)
        if not fields and not differences.owns_the_same(live, desired, task.marks.manager):
            fields = [Field(OWNERSHIP, "changed")]
        return Seen(one, live, "change" if fields else None, fields)

    return await each(task.wanted, seen)


def _may_be_applied(task: Task, identity: Identity, live: Mapping[str, Any]) -> None:
    whose = task.marks.of(live)
    if whose == "theirs":
        raise StepFailed(f"{identity.address} belongs to {owner_of(live)}")
    if whose == "nobody's" and task.entry(identity, live) is None and not task.wishes.force:
        raise StepFailed(
            f"{identity.address} was there before; adopt the resource, name it differently, or set with.force"
        )


def _defined(wanted: Iterable[Wanted]) -> dict[tuple[str, str], bool]:
    """Whether the kinds that the step itself defines have namespaces."""
    found: dict[tuple[str, str], bool] = {}
    for one in wanted:
        if one.identity.kind != "CustomResourceDefinition":
            continue
        spec = one.manifest.get("spec")
        try:
            for version in spec["versions"]:  # type: ignore[index]
                place = f"{spec['group']}/{version['name']}", spec["names"]["kind"]  # type: ignore[index]
                found[place] = spec["scope"] == "Namespaced"  # type: ignore[index]
        except (KeyError, TypeError):
            continue  # the cluster says what is wrong with it
    return found
