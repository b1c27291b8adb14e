"""The driver that renders templates into a git repository; what reads the repository is somebody else's.

- A step owns exactly the files that it wrote (`wishes`): ones it no longer renders are removed, others stay.
- Nothing to change makes no commit. A commit carries the step in its trailers, so a repeated attempt finds its own.
- `destroy` commits the removal of the step's files. A repository is never deleted.
- What is approved is which files change, from which content to which; other commits on the branch don't matter.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from entresol_provisioning.drivers import (
    Difference,
    Observation,
    Plan,
    StepFailed,
    StepResult,
    StepWork,
    beforehand,
    paths,
)
from entresol_provisioning.drivers.contracts import contract
from entresol_provisioning.drivers.git import history, refs, trees
from entresol_provisioning.drivers.git.places import Repositories
from entresol_provisioning.drivers.git.views import View
from entresol_provisioning.drivers.gitops import commits, proposals
from entresol_provisioning.drivers.gitops.commits import OUTPUTS, Weighed
from entresol_provisioning.drivers.gitops.targets import Spec, Target, target
from entresol_provisioning.drivers.gitops.wishes import Wish, wish
from entresol_provisioning.rendering import Renderer, RenderFailed
from entresol_provisioning.settings import Settings

T = TypeVar("T")


class GitOps:
    name = "gitops"
    contract = contract(Spec, outputs=OUTPUTS)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._renderer = Renderer(settings.render_seconds)
        self._repositories = Repositories()

    def available(self) -> bool:
        return True

    async def plan(self, work: StepWork) -> Plan:
        at = target(self._settings, work)
        wanted = await self._wish(work, at, destroys=work.destroys)
        if at.place.missing:
            if not at.create and not work.destroys:
                raise StepFailed(_missing(at))
            return _plan(at, wanted.anew, trees.everything(wanted.anew))

        async def weigh(wanted: Wish) -> Weighed:
            weighed: Weighed = await self._repositories.read(
                at.place, {at.branch}, lambda view: commits.weigh(view, work, view.heads[at.branch], wanted)
            )
            return weighed

        found = await self._begun(at, wanted, weigh)
        return _plan(at, found.change, found.difference)

    async def apply(self, work: StepWork) -> StepResult:
        with beforehand():
            at = target(self._settings, work)
            wanted = await self._wish(work, at, destroys=False)
            if at.place.missing and not at.create:
                raise StepFailed(_missing(at))
        if at.place.missing:
            work.hold_to(commits.approvable(at, wanted.anew, trees.everything(wanted.anew)))
        if at.create:
            await asyncio.to_thread(refs.create, at.place.directory, at.branch)
        return await self._begun(at, wanted, partial(self._bring_about, work, at))

    async def destroy(self, work: StepWork) -> StepResult:
        at = target(self._settings, work)
        wanted = await self._wish(work, at, destroys=True)
        if at.place.missing:
            work.hold_to(commits.approvable(at, wanted.anew, trees.everything(wanted.anew)))
            return StepResult(message="nothing there")
        done = await self._bring_about(work, at, wanted)
        commit = done.outputs["commit"]
        return StepResult({"commit": commit} if commit else {}, done.message)

    async def observe(self, work: StepWork) -> Observation:
        at = target(self._settings, work)
        wanted = await self._wish(work, at, destroys=work.destroys)
        if at.place.missing:
            gone = tuple(Difference(path, "removed") for path in sorted(wanted.write))
            return Observation(exists=False, differences=gone)

        def look(view: View) -> Observation:
            head = view.heads[at.branch]
            change = wanted.change(view.objects, head, work.resource_id)
            exists, differences = trees.look(view.objects, head, change)
            if not exists or head is None:
                return Observation(exists=False, differences=differences)
            more = proposals.outputs(at, head.decode())
            outputs = commits.outputs(at, sorted(change.write), head.decode()) | more
            return Observation(exists=True, differences=differences, outputs=outputs)

        seen: Observation = await self._repositories.read(at.place, {at.branch}, look)
        return seen

    async def withdraw(self, work: StepWork) -> StepResult | None:
        """Close the branch first: only then nobody can merge it any more, and whether it was merged can be told."""
        at = target(self._settings, work)
        if at.place.missing:
            return None
        wanted = await self._wish(work, at, destroys=work.destroys)
        branches, trailer = {at.branch, at.proposal or at.branch}, history.trailer(work.idempotency_key)
        repository = self._repositories.at(at.place)
        stays = await repository.ask(lambda view: proposals.close(view, at), branches, deadline=work.deadline)
        done: StepResult | None = await repository.ask(
            lambda view: proposals.merged(view, work, at, wanted), branches, deadline=work.deadline, trailer=trailer
        )
        if done is None and stays:
            raise StepFailed(f"the branch {at.proposal} stays: somebody has put a commit on it")
        return done

    async def close(self) -> None:
        await self._repositories.close()
        await self._renderer.close()

    async def _begun(self, at: Target, wanted: Wish, act: Callable[[Wish], Awaitable[T]]) -> T:
        """Act; if the branch is missing, begin it, but only in an empty repository: else nobody would read it."""
        with contextlib.suppress(commits.NoBranch):
            return await act(wanted)
        begins = await self._repositories.is_empty(at.place)
        try:
            return await act(replace(wanted, begins=begins))  # somebody may have begun it just now
        except commits.NoBranch:
            reason = f"{at.repository} has branches, but not {at.branch}; make it, or name the one that is meant"
            raise StepFailed(reason, untouched=True) from None

    async def _bring_about(self, work: StepWork, at: Target, wanted: Wish) -> StepResult:
        committer = self._settings.committer

        def bring_about(view: View) -> StepResult:
            if at.proposal is not None:
                return proposals.propose(view, work, at, wanted, committer)
            return commits.add(view, work, at, wanted, committer)

        done: StepResult = await self._repositories.at(at.place).ask(
            bring_about,
            {at.branch, at.proposal or at.branch},
            deadline=work.deadline,
            trailer=history.trailer(work.idempotency_key) if work.attempted else None,
        )
        return done

    async def _wish(self, work: StepWork, at: Target, *, destroys: bool) -> Wish:
        if (files := at.files) is None:
            if destroys:
                return await wish(work, at, {}, frozenset())
            raise StepFailed(
                "/with/files: is missing; a gitops step needs templates by path, or template, their folder"
            )
        try:
            # A destroy needs only the names: contents may depend on values that are gone.
            wanted = dict.fromkeys(files, "") if destroys else files
            rendered = await self._renderer.render(wanted, work.scope)
        except RenderFailed as error:
            if destroys:
                return await wish(work, at, {}, frozenset())
            raise StepFailed(str(error), unknown=error.unknown) from None
        written = {at.inside(name): text for name, text in rendered.items()}
        for path in written:
            if parent := next((one for one in paths.folders(path) if one in written), None):
                raise StepFailed(f"{parent} can't be a file, and a folder for {path}")
        try:
            contents = {} if destroys else {path: text.encode() for path, text in written.items()}
        except UnicodeEncodeError:
            raise StepFailed("what is rendered holds characters that are no text") from None
        return await wish(work, at, contents, frozenset(written))


def _plan(at: Target, change: trees.Change, difference: trees.Difference) -> Plan:
    digest = commits.approvable(at, change, difference)
    return trees.plan(digest, difference.added, difference.changed, difference.removed)


def _missing(at: Target) -> str:
    return f"there is no repository {at.repository}; make it, or let it be made with create: true"
