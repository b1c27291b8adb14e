"""The driver that makes a new repository from a copier template, and brings newer versions of the template into it.

- A repository that holds anything which this step did not put there is never begun in.
- After that it belongs to its developers: an update merges what the template has changed, or fails and pushes nothing,
  and only the repository's absence is drift. With `track: true` the template's files stay as it gives them.
- A commit carries the step in its trailers, so a repeated attempt finds its own. Pushes are never forced.
- It is only deleted where the offering says so, and only if it is kept here.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dulwich.objects import ObjectID
from entresol_eventing.failpoints import failpoint
from entresol_manifests.digest import digest

from entresol_provisioning.drivers import (
    Difference,
    Observation,
    Plan,
    StepFailed,
    StepResult,
    StepWork,
    Touched,
    beforehand,
)
from entresol_provisioning.drivers.contracts import contract
from entresol_provisioning.drivers.git import refs, trees
from entresol_provisioning.drivers.git.objects import Objects
from entresol_provisioning.drivers.git.places import Repositories
from entresol_provisioning.drivers.git.trees import Entry
from entresol_provisioning.drivers.git.views import View
from entresol_provisioning.drivers.remains import discard
from entresol_provisioning.drivers.scaffold import histories, merges, templates
from entresol_provisioning.drivers.scaffold.histories import Known
from entresol_provisioning.drivers.scaffold.merges import Wanted
from entresol_provisioning.drivers.scaffold.renders import Copier, Render
from entresol_provisioning.drivers.scaffold.targets import Spec, Target, target
from entresol_provisioning.settings import Settings

T = TypeVar("T")

OUTPUTS: Mapping[str, Any] = {
    "repository": {"type": "string", "description": "As the Destination or the step names it."},
    "branch": {"type": "string", "description": "That was filled."},
    "commit": {"type": "string", "description": "That brought the template's version in."},
    "template": {"type": "string", "description": "Name of the template."},
    "revision": {"type": "string", "description": "Commit of the template, or a digest of its folder."},
}
"""JSON Schema of each output."""


@dataclass(frozen=True, slots=True)
class State:
    """What was found in the repository."""

    head: ObjectID | None = None
    known: Known | None = None
    is_empty: bool = True
    """Whether there is nothing at all, so it can be begun."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one state of the repository to the next."""

    state: State
    wanted: Wanted
    before: Mapping[str, Entry]

    @property
    def changes(self) -> bool:
        return self.state.known is None or bool(self.wanted.entries)


class Scaffold:
    name = "scaffold"
    contract = contract(Spec, outputs=OUTPUTS)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        seconds, trusted = settings.scaffold_seconds, settings.trusted_templates
        self._copier = Copier(settings.data.absolute() / "scratch", seconds, settings.scaffold_concurrency, trusted)
        self._repositories = Repositories()

    def available(self) -> bool:
        return True

    async def close(self) -> None:
        await self._repositories.close()

    async def plan(self, work: StepWork) -> Plan:
        at = target(self._settings, work)
        state = await self._look(at, work)
        if work.destroys:
            return _removal(at, state)
        render = await self._render(at)
        if at.place.missing:
            return _outline(at, _begun(render))
        step = await self._read(at, lambda view: self._next(view, at, work, render, is_empty=state.is_empty))
        return _outline(at, step)

    async def apply(self, work: StepWork) -> StepResult:
        with beforehand():
            at = target(self._settings, work)
            state = await self._look(at, work)
            if work.attempted and state.known is not None:
                earlier: Known | None = await self._read(
                    at, lambda view: histories.find_earlier(view.objects, view.heads[at.branch], work)
                )
                if earlier is not None:
                    return StepResult(_outputs(at, earlier), "committed by an earlier attempt")
            render = await self._render(at)
        if at.place.missing:
            work.hold_to(_outline(at, _begun(render)).digest)
        if at.place.remote is None:
            await asyncio.to_thread(refs.create, at.place.directory, at.branch)

        def bring_about(view: View) -> StepResult:
            step = self._next(view, at, work, render, is_empty=state.is_empty)
            plan = _outline(at, step)
            work.hold_to(plan.digest)
            if not step.changes:
                assert step.state.known is not None
                return StepResult(_outputs(at, step.state.known), "nothing to change")
            view.tips[at.branch] = commit = self._commit(view.objects, work, render, step)
            told = f"{plan.adds} added, {plan.changes} changed, {plan.destroys} removed"
            return StepResult(_outputs(at, Known(commit, commit, render.template, render.revision)), told)

        done: StepResult = await self._repositories.at(at.place).ask(bring_about, {at.branch}, deadline=work.deadline)
        return done

    async def destroy(self, work: StepWork) -> StepResult:
        at = target(self._settings, work)
        state = await self._look(at, work)
        if _is_rewritten(at, work, state):
            return StepResult(kept=f"the repository {at.name}, whose history does not tell any more who made it")
        if state.known is None and work.attempted:
            return StepResult(message="nothing there")
        work.hold_to(_removal(at, state).digest)
        if state.known is None:
            return StepResult(message="nothing there")
        if not at.deletes:
            return StepResult(kept=f"the repository {at.name}, because onDelete is keep")
        failpoint("effect.middle")
        await asyncio.to_thread(_delete, at.place.directory)
        return StepResult(message=f"deleted the repository {at.name}")

    async def observe(self, work: StepWork) -> Observation:
        at = target(self._settings, work)
        state = await self._look(at, work)
        if state.known is not None:
            outputs = _outputs(at, state.known)
        elif _is_rewritten(at, work, state):
            outputs = dict(work.previous or {})
        elif work.adopts and not state.is_empty:
            raise StepFailed(f"the repository {at.name} was not made by this step, so it can't be adopted")
        else:
            return Observation(exists=False)
        if not at.track or work.destroys:
            return Observation(exists=True, outputs=outputs)
        render = await self._render(at)
        theirs = render.entries()
        ours = await self._read(at, lambda view: trees.entries(view.objects, view.heads[at.branch]))
        differences = tuple(
            Difference(path, "removed" if path not in ours else "changed")
            for path in sorted(theirs)
            if ours.get(path) != theirs[path] and path not in render.once
        )
        return Observation(exists=True, differences=differences, outputs=outputs)

    async def _render(self, at: Target) -> Render:
        settings = self._settings
        found = templates.find(settings.templates, settings.repositories, at.template, at.ref)
        return await self._copier.render(found, at.answers, at.folder)

    async def _read(self, at: Target, job: Callable[[View], T]) -> T:
        seen: T = await self._repositories.read(at.place, {at.branch}, job)
        return seen

    async def _look(self, at: Target, work: StepWork) -> State:
        """What is there now; a remote repository is fetched first."""
        if at.place.missing:
            return State()
        state = await self._read(at, lambda view: _found(view, at, work, is_empty=False))
        if state.head is not None:
            return state
        return State(is_empty=await self._repositories.is_empty(at.place))

    def _next(self, view: View, at: Target, work: StepWork, render: Render, *, is_empty: bool) -> Step:
        """Raises StepFailed if the repository is somebody else's, or if there is a conflict."""
        state = _found(view, at, work, is_empty=is_empty)
        if state.known is None:
            if _is_rewritten(at, work, state):
                lost = (work.previous or {}).get("commit")
                reason = "was rewritten, so nothing can be merged"
                raise StepFailed(f"the history of {at.name} {reason}; bring the commit {lost} back into {at.branch}")
            if not state.is_empty:
                what = "holds something already that was not made by this step"
                raise StepFailed(f"the repository {at.name} {what}; choose another name")
            return _begun(render)
        base, theirs = trees.entries(view.objects, state.known.rendered), render.entries()
        ours = trees.entries(view.objects, state.head)
        wanted = merges.compare(base, theirs, ours, render.once, track=at.track)
        merged: dict[str, Entry] = {}
        conflicts = list(wanted.conflicts)
        for path in wanted.merge:
            was, here = view.objects.raw(base[path][1]), view.objects.raw(ours[path][1])
            content = merges.merge_text(was, render.files[path].content, here, self._settings.git_seconds)
            if content is None:
                conflicts.append(path)
            elif content != here:
                mode = theirs[path][0] if theirs[path][0] != base[path][0] else ours[path][0]
                merged[path] = (mode, trees.add(view.objects, content))
        if conflicts:
            raise merges.conflict(conflicts)
        complete = Wanted({**wanted.write, **merged}, wanted.remove)
        return Step(state, complete, {path: ours[path] for path in complete.entries.keys() & ours.keys()})

    def _commit(self, objects: Objects, work: StepWork, render: Render, step: Step) -> ObjectID:
        for file in render.files.values():
            trees.add(objects, file.content)
        told, state = f"{render.template}@{render.revision}", step.state
        return histories.go_on(
            objects, state.head, state.known, render.entries(), step.wanted, work, told, self._settings.committer
        )


def _begun(render: Render) -> Step:
    """The first step, in a repository that holds nothing."""
    return Step(State(), merges.compare({}, render.entries(), {}, render.once, track=False), {})


def _found(view: View, at: Target, work: StepWork, *, is_empty: bool) -> State:
    head = view.heads[at.branch]
    return State(head, histories.find(view.objects, head, work), is_empty and head is None)


def _is_rewritten(at: Target, work: StepWork, state: State) -> bool:
    """Whether the step has filled the repository by its records, and not by the history that is there now."""
    if state.known is not None or state.is_empty or work.previous is None:
        return False
    before = str(work.previous.get("repository")).removesuffix(".git")
    return before == at.name.removesuffix(".git") and work.previous.get("branch") == at.branch


def _delete(place: Path) -> None:
    """At once for everybody who looks, because of the rename."""
    going = place.with_name(f".{place.name}.going")
    discard(going)
    place.rename(going)
    discard(going)


def _outputs(target: Target, known: Known) -> dict[str, Any]:
    return {
        "repository": target.name,
        "branch": target.branch,
        "commit": known.commit.decode(),
        "template": known.template,
        "revision": known.revision,
    }


def _outline(target: Target, step: Step) -> Plan:
    added = sorted(step.wanted.write.keys() - step.before.keys())
    changed = sorted(step.wanted.write.keys() & step.before.keys())
    removed = sorted(step.wanted.remove)
    told = {
        "repository": target.name.removesuffix(".git"),
        "branch": target.branch,
        "before": _told(step.before),
        "after": _told(step.wanted.write),
        "removed": removed,
    }
    return trees.plan(digest(told), added, changed, removed)


def _removal(target: Target, state: State) -> Plan:
    """What is approved is the end of the repository with the commits that it has now."""
    head = state.head.decode() if state.known is not None and state.head is not None else None
    deletes = target.deletes and head is not None
    told = {"repository": target.name.removesuffix(".git"), "deletes": head if deletes else None}
    kept = (f"the repository {target.name} is kept",) if head is not None else ()
    return Plan(
        digest=digest(told),
        destroys=int(deletes),
        summary=(f"- the repository {target.name}, with all that is in it",) if deletes else kept,
        resources=(Touched(target.name, "destroy", "repository"),) if deletes else (),
    )


def _told(entries: Mapping[str, Entry]) -> dict[str, str]:
    return {path: f"{mode:o} {name.decode()}" for path, (mode, name) in sorted(entries.items())}
