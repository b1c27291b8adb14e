"""Take objects away: those that a step no longer wants, and all of them in the end.

Only what is the step's is ever removed, later kinds before earlier ones, and dependents before what they depend on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entresol_eventing.failpoints import failpoint

from entresol_provisioning.drivers import Plan, Touched
from entresol_provisioning.drivers.kubernetes.looking import Task, each
from entresol_provisioning.drivers.kubernetes.marks import Entry
from entresol_provisioning.drivers.kubernetes.objects import Identity

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Leaving:
    """An object that is the step's and is to go."""

    identity: Identity
    live: Mapping[str, Any]

    @property
    def uid(self) -> str:
        return str(self.live["metadata"]["uid"])


def unwanted(task: Task) -> list[Entry]:
    """What the step had and no longer wants, by its books; nothing if it is not to be pruned."""
    if not task.wishes.prune:
        return []
    wanted = {one.identity.lasting for one in task.wanted}
    return [entry for lasting, entry in task.books.items() if lasting not in wanted]


async def no_longer_wanted(task: Task) -> list[Leaving]:
    """Those of them that are still there, and still the step's."""
    return await _there(task, [entry.identity for entry in unwanted(task)])


async def ask_for(task: Task, leaving: Sequence[Leaving]) -> None:
    """Ask the cluster to remove them; they may be there for a while yet."""
    for one in _last_first(leaving):
        if not one.live["metadata"].get("deletionTimestamp"):
            failpoint("effect.middle")
            await task.cluster.delete(one.identity, one.uid)


def named(task: Task) -> list[Identity]:
    """All that a destroy may find: what is in the books, and what the step names."""
    found = {entry.identity.lasting: entry.identity for entry in task.books.values()}
    for one in task.wanted:
        found.setdefault(one.identity.lasting, one.identity)
    return list(found.values())


def digested(task: Task) -> set[str]:
    """The same however far a removal has come: once a kind is gone, whether it had namespaces can't be told."""
    return {
        "/".join(
            (one.group, one.kind, one.name, "" if one.namespace in (None, task.wishes.namespace) else one.namespace)
        )
        for one in named(task)
    }


async def found(task: Task) -> list[Leaving]:
    return await _there(task, named(task))


async def kept(task: Task) -> str | None:
    """Objects that the step has made, and somebody has taken its mark off: they are left alone."""

    async def left(entry: Entry) -> str | None:
        live = await task.cluster.get(entry.identity)
        if live is None or task.entry(entry.identity, live) is None or task.removable(entry.identity, live):
            return None
        return entry.identity.address

    names = [name for name in await each(task.books.values(), left) if name is not None]
    if not names:
        return None
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}: no longer marked as this step's"


def plan(leaving: Sequence[Leaving], digest: str) -> Plan:
    ordered = _last_first(leaving)
    return Plan(
        digest=digest,
        destroys=len(ordered),
        summary=tuple(f"- {one.identity.address}" for one in ordered),
        resources=tuple(Touched(one.identity.address, "destroy", one.identity.kind) for one in ordered),
    )


async def remove(task: Task, leaving: Sequence[Leaving]) -> None:
    """Remove them, kind by kind. Raises StepSuspended as long as some are still there, and says what they wait for."""
    for rank in sorted({one.identity.rank for one in leaving}, reverse=True):
        group = [one for one in leaving if one.identity.rank == rank]
        await ask_for(task, group)
        await gone(task, group)


async def gone(task: Task, leaving: Sequence[Leaving]) -> None:
    """Raise StepSuspended if one of them is still there."""

    async def now(one: Leaving) -> Mapping[str, Any] | None:
        live = await task.cluster.get(one.identity)
        return live if live is not None and live["metadata"]["uid"] == one.uid else None

    lives = await each(leaving, now)
    waits = [(one, live) for one, live in zip(leaving, lives, strict=True) if live is not None]
    if waits:
        first, live = waits[0]
        more = f", and {len(waits) - 1} more" if len(waits) > 1 else ""
        raise task.suspended(f"{first.identity.address} is being removed{_held_up(live)}{more}")


async def _there(task: Task, identities: Sequence[Identity]) -> list[Leaving]:
    async def one(identity: Identity) -> Leaving | None:
        live = await task.cluster.get(identity)
        return Leaving(identity, live) if live is not None and task.removable(identity, live) else None

    return _last_first([one for one in await each(identities, one) if one is not None])


def _last_first(leaving: Sequence[Leaving]) -> list[Leaving]:
    return sorted(leaving, key=lambda one: (-one.identity.rank, one.identity.address))


def _held_up(live: Mapping[str, Any]) -> str:
    """What keeps it, for people: its finalizers, or what its namespace says is left in it."""
    finalizers = [*(live["metadata"].get("finalizers") or ()), *((live.get("spec") or {}).get("finalizers") or ())]
    return f"; it waits for its finalizers {', '.join(map(str, finalizers))}"[:300] if finalizers else ""
