"""The driver that renders templates into a git repository; what reads the repository is somebody else's.

`with`: `destination` (a Destination) or `repository` (a name beneath the service's root; `create: true` makes it),
`branch`, `path` (default project/environment/offering/name, beneath the destination's path), and `files`: templates
by relative path, whose names are templates too.

- A step owns exactly the files that it wrote: ones it no longer renders are removed, others at the same path stay.
- Nothing to change makes no commit. A commit carries the step in its trailers, so a repeated attempt finds its own.
- `destroy` commits the removal of the step's files. A repository is never deleted.
- What is approved is which files change, from which content to which; other commits on the branch don't matter.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dulwich.objects import ObjectID
from dulwich.repo import Repo
from entresol_eventing.failpoints import failpoint
from entresol_manifests.digest import digest

from entresol_provisioning.drivers import Observation, Plan, StepFailed, StepResult, StepWork, Touched, paths, trees
from entresol_provisioning.drivers.remotes import PushRefused, Remote, checked_url, is_url
from entresol_provisioning.drivers.trees import Change, Difference
from entresol_provisioning.rendering import Renderer, RenderFailed
from entresol_provisioning.settings import Settings

ATTEMPTS = 50
"""How often a branch may be moved by somebody else before the step is put off."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a step writes."""

    repository: str
    place: Path
    """The repository itself, or the mirror of a remote one."""
    branch: str
    path: str
    create: bool
    remote: Remote | None

    @property
    def ref(self) -> bytes:
        return f"refs/heads/{self.branch}".encode()


class GitOps:
    name = "gitops"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._renderer = Renderer(settings.render_seconds)
        self._turns: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)

    def available(self) -> bool:
        return True

    async def observe(self, work: StepWork) -> Observation:
        return Observation(exists=(await self.plan(replace(work, destroys=True))).destroys > 0)

    async def close(self) -> None:
        await self._renderer.close()

    async def plan(self, work: StepWork) -> Plan:
        target = self._target(work)
        change = await self._change(work, target, destroys=work.destroys)
        async with self._turns[target.place]:
            if target.remote is None and not target.place.exists():
                if not target.create and not work.destroys:
                    raise StepFailed(_missing(target))
                difference = trees.everything(change)
            else:
                head = await target.remote.head(target.place, target.branch) if target.remote else None
                difference = await asyncio.to_thread(_look, target, head, change)
        return Plan(
            digest=_digest(target, change, difference),
            adds=len(difference.added),
            changes=len(difference.changed),
            destroys=len(difference.removed),
            summary=(
                *trees.listed(difference.added, "+"),
                *trees.listed(difference.changed, "~"),
                *trees.listed(difference.removed, "-"),
            ),
            resources=(
                *(Touched(path, "add") for path in difference.added),
                *(Touched(path, "change") for path in difference.changed),
                *(Touched(path, "destroy") for path in difference.removed),
            ),
        )

    async def apply(self, work: StepWork) -> StepResult:
        target = self._target(work)
        change = await self._change(work, target, destroys=False)
        if target.remote is None and not target.create and not target.place.exists():
            raise StepFailed(_missing(target))
        commit, message = await self._bring_about(work, target, change)
        files = sorted(change.write)
        outputs = {
            "commit": commit,
            "repository": target.repository,
            "path": target.path,
            "branch": target.branch,
            "files": files,
        }
        return StepResult(outputs, message)

    async def destroy(self, work: StepWork) -> StepResult:
        target = self._target(work)
        change = await self._change(work, target, destroys=True)
        if target.remote is None and not target.place.exists():
            work.hold_to(_digest(target, change, trees.everything(change)))
            return StepResult(message="nothing there")
        commit, message = await self._bring_about(work, target, change)
        return StepResult({"commit": commit} if commit else {}, message)

    async def _bring_about(self, work: StepWork, target: Target, change: Change) -> tuple[str | None, str]:
        """The commit in which the branch is as wanted, and what happened.

        The difference is compared with what was approved each time that somebody else has moved the branch.
        """
        async with self._turns[target.place]:
            if target.remote is None:
                return await asyncio.to_thread(_write_here, target, change, self._settings.committer, work)
            for attempt in range(ATTEMPTS):
                head = await target.remote.head(target.place, target.branch)
                arguments = (target, head, change, self._settings.committer, work)
                commit, said, is_new = await asyncio.to_thread(_prepare, *arguments)
                if not is_new:
                    return commit, said
                try:
                    assert commit is not None
                    failpoint("effect.middle")
                    await target.remote.push(target.place, commit, target.branch)
                    return commit, said
                except PushRefused:
                    await asyncio.sleep(min(1.0, 0.02 * attempt))
        raise StepFailed("others keep moving the branch", retryable=True)

    async def _change(self, work: StepWork, target: Target, *, destroys: bool) -> Change:
        before = frozenset(_owned(work.previous, target))
        files = work.with_.get("files")
        if not isinstance(files, Mapping) or not files or not all(isinstance(one, str) for one in files.values()):
            if destroys:
                return Change({}, before)
            raise StepFailed("with.files must be templates by relative path")
        try:
            # A destroy needs only the names: contents may depend on values that are gone.
            wanted = dict.fromkeys(files, "") if destroys else files
            rendered = await self._renderer.render(wanted, work.scope)
        except RenderFailed as error:
            if destroys:
                return Change({}, before)
            raise StepFailed(str(error), unknown=error.unknown) from None
        written = {
            paths.relative(f"{target.path}/{name}" if target.path else name): text for name, text in rendered.items()
        }
        if destroys:
            return Change({}, before | written.keys())
        return Change({path: text.encode() for path, text in written.items()}, before - written.keys())

    def _target(self, work: StepWork) -> Target:
        with_, spec = work.with_, work.destination or {}
        repository = spec.get("repository") or with_.get("repository")
        if not isinstance(repository, str) or not repository:
            raise StepFailed("a gitops step needs with.destination or with.repository")
        if not spec and is_url(repository):
            raise StepFailed("with.repository is a name beneath the service's root; a URL belongs into a Destination")
        default = "/".join((work.project, work.environment, work.offering, work.name))
        parts = [str(one).strip("/") for one in (spec.get("path") or "", with_.get("path", default) or "")]
        path = "/".join(one for one in parts if one)
        branch = paths.branch(str(with_.get("branch") or spec.get("branch") or "main"))
        path = paths.relative(path) if path else ""
        if not is_url(repository):
            place = paths.beneath(self._settings.repositories, repository)
            create = (spec if spec else with_).get("create") is True
            return Target(repository, place, branch, path, create, None)
        url = checked_url(repository, local=self._settings.allow_local_repositories)
        mirror = self._settings.mirrors / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.git"
        remote = Remote(url, spec.get("secretRef"), self._settings.git_seconds)
        return Target(repository, mirror, branch, path, False, remote)


def _owned(previous: Mapping[str, Any] | None, target: Target) -> list[str]:
    """Files that the step wrote when it was last done, if that was to the same place."""
    if previous is None or previous.get("branch") != target.branch:
        return []
    if str(previous.get("repository")).removesuffix(".git") != target.repository.removesuffix(".git"):
        return []
    files = previous.get("files")
    return [paths.relative(str(one)) for one in files] if isinstance(files, list) else []


def _write_here(target: Target, change: Change, committer: str, work: StepWork) -> tuple[str | None, str]:
    if target.create:
        if not target.place.exists():
            work.hold_to(_digest(target, change, trees.everything(change)))
        trees.create(target.place, target.ref)
    with Repo(str(target.place)) as repo:
        for _ in range(ATTEMPTS):
            head = trees.head_of(repo, target.ref)
            commit, said, is_new = _prepare_in(repo, target, head, change, committer, work)
            if not is_new:
                return commit, said
            assert commit is not None
            failpoint("effect.middle")
            if trees.move(repo, target.ref, head, ObjectID(commit.encode())):
                return commit, said
            if work.remaining_seconds <= 0:
                break
    raise StepFailed("others keep moving the branch", retryable=True)


def _look(target: Target, head: str | None, change: Change) -> Difference:
    with Repo(str(target.place)) as repo:
        if target.remote is None:
            return trees.compare(repo, trees.head_of(repo, target.ref), change)
        return trees.compare(repo, None if head is None else ObjectID(head.encode()), change)


def _prepare(
    target: Target, head: str | None, change: Change, committer: str, work: StepWork
) -> tuple[str | None, str, bool]:
    with Repo(str(target.place)) as repo:
        start = None if head is None else ObjectID(head.encode())
        return _prepare_in(repo, target, start, change, committer, work)


def _prepare_in(
    repo: Repo, target: Target, head: ObjectID | None, change: Change, committer: str, work: StepWork
) -> tuple[str | None, str, bool]:
    """The commit that has the change, what happened, and whether it is new and has to be put onto the branch."""
    if work.attempted and (found := trees.find_trailer(repo, head, _trailer(work))) is not None:
        return found.decode(), "committed by an earlier attempt", False
    difference = trees.compare(repo, head, change)
    work.hold_to(_digest(target, change, difference))
    if not difference:
        return None if head is None else head.decode(), "nothing to change", False
    commit = trees.commit(repo, head, change, difference, _message(work), committer)
    counts = (("added", difference.added), ("changed", difference.changed), ("removed", difference.removed))
    return commit.decode(), ", ".join(f"{len(one)} {word}" for word, one in counts if one), True


def _digest(target: Target, change: Change, difference: Difference) -> str:
    """Of what would be done: which files of which branch, from which content to which."""
    written = (*difference.added, *difference.changed)
    return digest(
        {
            "repository": target.repository.removesuffix(".git"),
            "branch": target.branch,
            "before": dict(difference.before),
            "after": {path: hashlib.sha256(change.write[path]).hexdigest() for path in written},
        }
    )


def _trailer(work: StepWork) -> str:
    return f"Entresol-Step: {work.idempotency_key}"


def _message(work: StepWork) -> str:
    actor = "".join(one for one in work.actor if one.isprintable())[:200]
    return (
        f"{work.action} {work.resource_id}\n\n"
        f"Entresol-Request: {work.request_id}\n"
        f"Entresol-Run: {work.run_id}\n"
        f"{_trailer(work)}\n"
        f"Entresol-Actor: {actor}\n"
    )


def _missing(target: Target) -> str:
    return f"there is no repository {target.repository}; make it, or let it be made with create: true"
